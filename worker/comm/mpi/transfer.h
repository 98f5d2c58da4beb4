// What a group hands to MPI's thread.
#ifndef CARAVAN_WORKER_COMM_MPI_TRANSFER_H_
#define CARAVAN_WORKER_COMM_MPI_TRANSFER_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "worker/comm/buffer_pool.h"
#include "worker/comm/waiter.h"

namespace caravan::worker {

// One non-blocking call to MPI. Results are MPI's thread's to write until
// `done`, and anyone's to read after.
struct Transfer {
  int peer = 0;        // rank in the group, for messages
  int world_peer = 0;  // and in the world
  int tag = 0;
  SharedBuffer buffer;  // what is sent, or what came

  absl::Status status;
  std::atomic<bool> done = false;
};

// Transfers of one direction that are waited for together. Shared with MPI's
// thread: a batch that its caller gives up lives on until MPI lets go of it.
struct TransferBatch {
  enum class Direction { kSend, kReceive };

  TransferBatch(Direction direction, size_t count,
                std::shared_ptr<Waiter> waiter)
      : direction(direction),
        transfers(count),
        remaining(static_cast<int>(count)),
        waiter(std::move(waiter)) {}

  const Direction direction;
  std::vector<Transfer> transfers;
  std::atomic<int> remaining;
  std::atomic<bool> failed = false;  // one of them has a status that is not OK
  const std::shared_ptr<Waiter> waiter;  // of the group
  const std::chrono::steady_clock::time_point submitted =
      std::chrono::steady_clock::now();
};
using SharedBatch = std::shared_ptr<TransferBatch>;

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_MPI_TRANSFER_H_
