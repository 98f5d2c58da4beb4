#include "worker/comm/nccl/operation_log.h"

#include <utility>

#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker {
namespace {

using cuda::CudaStatus;

// Several steps of a large model; above this, what is done is taken off.
constexpr size_t kManyEntries = 1024;

}  // namespace

// Operations in a row that are alike, as one.
struct OperationLog::RecordedOperations final : public cuda::RecordedNotes {
  struct Run {
    WatchedGroup* group;
    DeviceOperation operation;
    int64_t count;
  };
  std::vector<Run> runs;
};

OperationLog::OperationLog(std::shared_ptr<cuda::DeviceContext> context)
    : context_(std::move(context)) {
  context_->SetWatcher(this);
}

OperationLog::~OperationLog() {
  context_->SetWatcher(nullptr);
  for (const Entry& entry : entries_) cudaEventDestroy(entry.done);
  for (const cudaEvent_t event : free_events_) cudaEventDestroy(event);
}

absl::Status OperationLog::Add(WatchedGroup* group,
                               const DeviceOperation& operation) {
  if (recorded_ == nullptr) return Enqueue(group, operation);
  std::vector<RecordedOperations::Run>& runs = recorded_->runs;
  if (!runs.empty() && runs.back().group == group &&
      runs.back().operation == operation) {
    ++runs.back().count;
  } else {
    runs.push_back({group, operation, 1});
  }
  return absl::OkStatus();
}

void OperationLog::BeginRecording() {
  recorded_ = std::make_unique<RecordedOperations>();
}

std::unique_ptr<cuda::RecordedNotes> OperationLog::EndRecording() {
  return std::move(recorded_);
}

absl::Status OperationLog::BeforeReplay(const cuda::RecordedNotes& notes) {
  const auto& recorded = static_cast<const RecordedOperations&>(notes);
  for (const RecordedOperations::Run& run : recorded.runs) {
    CARAVAN_RETURN_IF_ERROR(run.group->OnReplay(run.operation, run.count));
  }
  return absl::OkStatus();
}

absl::Status OperationLog::AfterReplay(const cuda::RecordedNotes& notes) {
  const auto& recorded = static_cast<const RecordedOperations&>(notes);
  for (const RecordedOperations::Run& run : recorded.runs) {
    CARAVAN_RETURN_IF_ERROR(Enqueue(run.group, run.operation));
  }
  return absl::OkStatus();
}

absl::Status OperationLog::Enqueue(WatchedGroup* group,
                                   const DeviceOperation& operation) {
  if (entries_.size() >= kManyEntries) CARAVAN_RETURN_IF_ERROR(DropDone());
  CARAVAN_ASSIGN_OR_RETURN(const cudaEvent_t event, TakeEvent());
  entries_.push_back({group, operation, event});
  return CudaStatus(cudaEventRecord(event, context_->stream()),
                    "cudaEventRecord");
}

void OperationLog::Forget(WatchedGroup* group) {
  for (Entry& entry : entries_) {
    if (entry.group == group) entry.group = nullptr;
  }
}

absl::Status OperationLog::OnWait(absl::Duration waited) {
  CARAVAN_RETURN_IF_ERROR(DropDone());
  if (entries_.empty() || entries_.front().group == nullptr) {
    return absl::OkStatus();
  }
  // A copy: the group may be what fails, and say so.
  const Entry first = entries_.front();
  return first.group->OnWait(first.operation, waited);
}

absl::StatusOr<cudaEvent_t> OperationLog::TakeEvent() {
  cudaEvent_t event = nullptr;
  if (free_events_.empty()) {
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
                   "cudaEventCreateWithFlags"));
  } else {
    event = free_events_.back();
    free_events_.pop_back();
  }
  return event;
}

absl::Status OperationLog::DropDone() {
  while (!entries_.empty()) {
    const cudaError_t error = cudaEventQuery(entries_.front().done);
    if (error == cudaErrorNotReady) {
      cudaGetLastError();  // "not ready" is none
      return absl::OkStatus();
    }
    CARAVAN_RETURN_IF_ERROR(CudaStatus(error, "cudaEventQuery"));
    free_events_.push_back(entries_.front().done);
    entries_.pop_front();
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker
