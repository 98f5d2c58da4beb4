// One rank's end of one NCCL communicator.
#ifndef CARAVAN_WORKER_COMM_NCCL_NCCL_CONNECTION_H_
#define CARAVAN_WORKER_COMM_NCCL_NCCL_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "worker/comm/waiter.h"

// NCCL's own name for what ncclComm_t points to.
struct ncclComm;

namespace caravan::worker {

// What one rank makes and tells the others, so that they find each other.
absl::StatusOr<std::string> NewNcclUniqueId();

// Never blocks inside NCCL: the communicator is made not to, and every call is
// polled against a deadline. One thread makes all calls, Abort() included;
// other threads abort the waiter, which ends a wait here. After an error only
// Abort() and deletion are left.
class NcclConnection final {
 public:
  struct Place {
    std::string unique_id;
    int rank = 0;
    int size = 1;
  };

  // On the current device. Blocks until all ranks have come, at most `timeout`;
  // kDeadlineExceeded then. `waiter` outlives it.
  static absl::StatusOr<std::unique_ptr<NcclConnection>> Join(
      const Place& place, Waiter& waiter, absl::Duration timeout);

  // Takes leave of the others, for a second at most, where nothing is broken;
  // aborts otherwise.
  ~NcclConnection();
  NcclConnection(const NcclConnection&) = delete;
  NcclConnection& operator=(const NcclConnection&) = delete;

  // Makes a call, or several in an NCCL group, which return an ncclResult_t;
  // returns when all of it has been enqueued, which is not when it is done.
  absl::Status Run(absl::string_view operation,
                   absl::FunctionRef<int(ncclComm*)> call);

  // What has gone wrong since, with what was enqueued; OK if nothing has.
  absl::Status CheckAsync();

  // Ends what was enqueued. Waits for NCCL no longer than two seconds: it has
  // been seen to hang in this call, and who supervises this process kills it.
  void Abort();

 private:
  NcclConnection(ncclComm* communicator, Waiter& waiter)
      : communicator_(communicator), waiter_(waiter) {}
  // Until NCCL is through with the last call.
  absl::Status AwaitReady(const Call& call);

  ncclComm* communicator_;  // null: aborted
  Waiter& waiter_;
  bool broken_ = false;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_NCCL_CONNECTION_H_
