// What the ranks' GPUs have been told to do together, in the stream's order.
#ifndef CARAVAN_WORKER_COMM_NCCL_OPERATION_LOG_H_
#define CARAVAN_WORKER_COMM_NCCL_OPERATION_LOG_H_

#include <cuda_runtime_api.h>

#include <cstdint>
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
  bool operator==(const DeviceOperation&) const = default;
};

// A group whose operations may wait for other ranks.
class WatchedGroup {
 public:
  virtual ~WatchedGroup() = default;
  // The host waits for the device, which is in `operation` of this group or not
  // yet there. An error breaks the group and ends the wait.
  virtual absl::Status OnWait(const DeviceOperation& operation,
                              absl::Duration waited) = 0;
  // So many of the group's operations, which were recorded, are about to be
  // enqueued. An error keeps them from that.
  virtual absl::Status OnReplay(const DeviceOperation& operation,
                                int64_t count) = 0;
};

// Knows in which operation the device is, so that a wait in vain ends with the
// name of that one and not of one that waits behind it. The context's watcher
// while it lives; one thread. Groups that are gone must be forgotten, and the
// graphs in which their operations are recorded dropped before.
//
// Of operations that are replayed it knows that the device is in one of them,
// or before: those in a row of one group and name are one entry.
class OperationLog final : public cuda::DeviceWatcher {
 public:
  explicit OperationLog(std::shared_ptr<cuda::DeviceContext> context);
  ~OperationLog() override;
  OperationLog(const OperationLog&) = delete;
  OperationLog& operator=(const OperationLog&) = delete;

  // The group's `operation` has just been enqueued, or recorded.
  absl::Status Add(WatchedGroup* group, const DeviceOperation& operation);
  void Forget(WatchedGroup* group);

  bool recording() const { return recorded_ != nullptr; }

  absl::Status OnWait(absl::Duration waited) override;
  void BeginRecording() override;
  std::unique_ptr<cuda::RecordedNotes> EndRecording() override;
  absl::Status BeforeReplay(const cuda::RecordedNotes& notes) override;
  absl::Status AfterReplay(const cuda::RecordedNotes& notes) override;

 private:
  struct RecordedOperations;
  struct Entry {
    WatchedGroup* group;  // null: forgotten
    DeviceOperation operation;
    cudaEvent_t done;
  };
  absl::Status Enqueue(WatchedGroup* group, const DeviceOperation& operation);
  absl::StatusOr<cudaEvent_t> TakeEvent();
  // Takes off what is done.
  absl::Status DropDone();

  const std::shared_ptr<cuda::DeviceContext> context_;
  std::deque<Entry> entries_;
  std::vector<cudaEvent_t> free_events_;
  std::unique_ptr<RecordedOperations> recorded_;  // null: not recording
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_OPERATION_LOG_H_
