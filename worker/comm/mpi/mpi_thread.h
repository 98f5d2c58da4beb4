// The one thread that calls MPI.
#ifndef CARAVAN_WORKER_COMM_MPI_MPI_THREAD_H_
#define CARAVAN_WORKER_COMM_MPI_MPI_THREAD_H_

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "worker/comm/mpi/transfer.h"

namespace caravan::worker {

// Starts MPI, runs transfers and finalizes MPI, all on one thread, since MPI is
// initialized with MPI_THREAD_FUNNELED. Only non-blocking calls, polled: MPI
// cannot hang whoever waits, who has a deadline of his own.
//
// While a transfer is pending the thread spins for some tens of microseconds
// after the last event and then sleeps in slices that grow with the time
// waited; while none is, it blocks.
class MpiThread final {
 public:
  // kDeadlineExceeded leaves the thread inside MPI_Init behind.
  static absl::StatusOr<std::unique_ptr<MpiThread>> Start(
      absl::Duration timeout);

  // As Stop(zero), if Stop was not called.
  ~MpiThread();
  MpiThread(const MpiThread&) = delete;
  MpiThread& operator=(const MpiThread&) = delete;

  int rank() const;
  int size() const;
  BufferPool& pool();  // of messages that are sent and received

  // Any thread. Results appear in the batches, and their waiters are notified
  // when a batch is complete or a transfer fails.
  void Submit(std::vector<SharedBatch> batches);

  // Gives up transfers that are not wanted any more. Any thread.
  void Abandon(SharedBatch batch);

  // Completes all transfers, finalizes MPI and ends the thread. kAborted when
  // transfers do not complete, so that MPI is not finalized; kDeadlineExceeded
  // when MPI is not finalized in time: then the thread is left to itself.
  absl::Status Stop(absl::Duration timeout);

 private:
  // Shared with the thread, which may outlive this.
  class Core;

  MpiThread(std::shared_ptr<Core> core, std::thread thread);

  const std::shared_ptr<Core> core_;
  std::thread thread_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_MPI_MPI_THREAD_H_
