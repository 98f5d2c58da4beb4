// Work of a stream that is recorded once and enqueued by one call afterwards: a
// CUDA graph.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_RECORDED_GRAPH_H_
#define CARAVAN_WORKER_BACKEND_CUDA_RECORDED_GRAPH_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_context.h"

namespace caravan::worker::cuda {

// Kernels keep the arguments that they were recorded with. The context outlives
// it. One thread, the context's.
class RecordedGraph final {
 public:
  // Records what `enqueue` enqueues in the context's stream, none of which
  // runs, and takes the device's memory for it. After an error the stream is as
  // it was.
  static absl::StatusOr<std::unique_ptr<RecordedGraph>> Record(
      DeviceContext& context, absl::FunctionRef<absl::Status()> enqueue);
  // A launch that is not done goes on.
  ~RecordedGraph();
  RecordedGraph(const RecordedGraph&) = delete;
  RecordedGraph& operator=(const RecordedGraph&) = delete;

  // Enqueues all of it. The watcher's error: nothing is enqueued then.
  absl::Status Launch();

  int64_t num_operations() const { return num_operations_; }

 private:
  explicit RecordedGraph(DeviceContext& context) : context_(context) {}
  absl::Status Instantiate(cudaGraph_t graph);

  DeviceContext& context_;
  cudaGraphExec_t executable_ = nullptr;
  int64_t num_operations_ = 0;
  std::unique_ptr<RecordedNotes> notes_;  // null: nobody cares
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_RECORDED_GRAPH_H_
