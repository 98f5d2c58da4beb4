// A rank with a GPU as a process of its own, started by nccl_ranks.py.
#ifndef CARAVAN_TESTS_WORKER_COMM_NCCL_RANK_PROCESS_H_
#define CARAVAN_TESTS_WORKER_COMM_NCCL_RANK_PROCESS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

struct RankProcess {
  std::shared_ptr<cuda::DeviceContext> context;
  std::unique_ptr<World> world;
};

// A line on standard output, at once.
void Say(const std::string& line);

// Says "endpoint E", reads the endpoints of all ranks as one line and meets
// them.
absl::StatusOr<RankProcess> MeetRanks(int rank);

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_COMM_NCCL_RANK_PROCESS_H_
