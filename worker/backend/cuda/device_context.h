// One GPU as a process uses it: its number, its facts, one stream.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CONTEXT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CONTEXT_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace caravan::worker::cuda {

// What a watcher has noted of work that was recorded.
class RecordedNotes {
 public:
  virtual ~RecordedNotes() = default;
};

// Looks after a host that waits for the device, for those whose work in the
// stream may never end: what waits for other GPUs.
class DeviceWatcher {
 public:
  virtual ~DeviceWatcher() = default;
  // Called every few tens of microseconds by the thread that waits, after the
  // first millisecond, with the time since it began to wait. An error ends the
  // wait with it.
  virtual absl::Status OnWait(absl::Duration waited) = 0;

  // What is enqueued between these calls is recorded into a graph and does not
  // run: no event in it tells anything. Null: there is nothing to note.
  virtual void BeginRecording() {}
  virtual std::unique_ptr<RecordedNotes> EndRecording() { return nullptr; }
  // Work that was recorded, with notes, is about to be enqueued, as a whole; an
  // error keeps it from that. Then it has been.
  virtual absl::Status BeforeReplay(const RecordedNotes& notes) {
    return absl::OkStatus();
  }
  virtual absl::Status AfterReplay(const RecordedNotes& notes) {
    return absl::OkStatus();
  }
};

// Keeps graphs of the device's work.
class GraphHolder {
 public:
  virtual ~GraphHolder() = default;
  // Lets go of all of them; those that run are freed when they are done.
  virtual void DropGraphs() = 0;
};

struct DeviceContextOptions {
  int device = 0;  // among those that the process sees
  // How long the host waits for the device before it gives it up.
  absl::Duration timeout = absl::Seconds(60);
};

// Shared by the backend and the communicator of a rank, so that their work is
// in one order. It outlives all memory that belongs to it. One thread at a
// time.
class DeviceContext final {
 public:
  // Makes the device current in the calling thread. kFailedPrecondition: no
  // driver or no such device.
  static absl::StatusOr<std::unique_ptr<DeviceContext>> Create(
      const DeviceContextOptions& options);
  ~DeviceContext();
  DeviceContext(const DeviceContext&) = delete;
  DeviceContext& operator=(const DeviceContext&) = delete;

  int device() const { return options_.device; }
  cudaStream_t stream() const { return stream_; }
  const std::string& name() const { return name_; }
  // As in "sm_90".
  int compute_capability() const { return compute_capability_; }
  int num_multiprocessors() const { return num_multiprocessors_; }

  // For other threads than the one that called Create.
  absl::Status MakeCurrent() const;

  // At most one at a time, which the context must not outlive; null: none.
  void SetWatcher(DeviceWatcher* watcher) { watcher_ = watcher; }
  DeviceWatcher* watcher() const { return watcher_; }

  // Likewise.
  void SetGraphHolder(GraphHolder* holder) { graph_holder_ = holder; }
  // For those whose end waits for all graphs that work with them: NCCL's
  // communicators.
  void DropGraphs() const {
    if (graph_holder_ != nullptr) graph_holder_->DropGraphs();
  }

  // Whether what is enqueued is recorded and does not run (recorded_graph.h):
  // there is nothing to wait for then.
  bool recording() const { return recording_; }
  void SetRecording(bool recording) { recording_ = recording; }

  // Until the work enqueued so far, or up to the event, is done. Never blocks
  // in the driver. kDeadlineExceeded after the timeout; the watcher's error;
  // the first error of the device, for good; kFailedPrecondition while
  // recording.
  absl::Status Wait() const;
  absl::Status WaitFor(cudaEvent_t event) const;

 private:
  explicit DeviceContext(const DeviceContextOptions& options)
      : options_(options) {}
  absl::Status Start();
  absl::Status Poll(absl::FunctionRef<cudaError_t()> query,
                    absl::string_view call) const;

  const DeviceContextOptions options_;
  std::string name_;
  int compute_capability_ = 0;
  int num_multiprocessors_ = 0;
  cudaStream_t stream_ = nullptr;
  DeviceWatcher* watcher_ = nullptr;
  GraphHolder* graph_holder_ = nullptr;
  bool recording_ = false;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CONTEXT_H_
