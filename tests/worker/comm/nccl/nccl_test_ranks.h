// Ranks as threads, each with a GPU of its own.
#ifndef CARAVAN_TESTS_WORKER_COMM_NCCL_NCCL_TEST_RANKS_H_
#define CARAVAN_TESTS_WORKER_COMM_NCCL_NCCL_TEST_RANKS_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/comm/nccl/nccl_world.h"

namespace caravan::worker {

struct NcclTestRank {
  std::shared_ptr<cuda::DeviceContext> context;
  std::unique_ptr<World> world;
};

// Runs `body` on `size` ranks that have met; what each returned, or why it did
// not come so far.
std::vector<absl::Status> RunNcclRanks(
    int size, const std::function<absl::Status(NcclTestRank&)>& body,
    absl::Duration join_timeout = absl::Seconds(60));

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_COMM_NCCL_NCCL_TEST_RANKS_H_
