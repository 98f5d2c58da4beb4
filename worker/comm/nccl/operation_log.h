// What the ranks' GPUs have been told to do together, in the stream's order.
#ifndef CARAVAN_WORKER_COMM_NCCL_OPERATION_LOG_H_
#define CARAVAN_WORKER_COMM_NCCL_OPERATION_LOG_H_

#include <cuda_runtime_api.h>

#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "worker/backend/cuda/device_context.h"

namespace caravan::worker {

struct DeviceOperation {
  absl::string_view name;  // lives for ever
  int peer = -1;           // rank in the group; -1: all
};

// A group whose operations may wait for other ranks.
class WatchedGroup {
 public:
  virtual ~WatchedGroup() = default;
  // The host waits for the device, which is in `operation` of this group or not
  // yet there. An error breaks the group and ends the wait.
  virtual absl::Status OnWait(const DeviceOperation& operation,
                              absl::Duration waited) = 0;
};

// Knows in which operation the device is, so that a wait in vain ends with the
// name of that one and not of one that waits behind it. The context's watcher
// while it lives; one thread. Groups that are gone must be forgotten.
class OperationLog final : public cuda::DeviceWatcher {
 public:
  explicit OperationLog(std::shared_ptr<cuda::DeviceContext> context);
  ~OperationLog() override;
  OperationLog(const OperationLog&) = delete;
  OperationLog& operator=(const OperationLog&) = delete;

  // The group's `operation` has just been enqueued.
  absl::Status Add(WatchedGroup* group, const DeviceOperation& operation);
  void Forget(WatchedGroup* group);

  absl::Status OnWait(absl::Duration waited) override;

 private:
  struct Entry {
    WatchedGroup* group;  // null: forgotten
    DeviceOperation operation;
    cudaEvent_t done;
  };
  absl::StatusOr<cudaEvent_t> TakeEvent();
  // Takes off what is done.
  absl::Status DropDone();

  const std::shared_ptr<cuda::DeviceContext> context_;
  std::deque<Entry> entries_;
  std::vector<cudaEvent_t> free_events_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_OPERATION_LOG_H_
