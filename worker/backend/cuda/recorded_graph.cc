#include "worker/backend/cuda/recorded_graph.h"

#include <utility>

#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {
namespace {

// A capture of the context's stream.
class Recording final {
 public:
  explicit Recording(DeviceContext& context) : context_(context) {}

  absl::Status Begin() {
    // Other threads go on with their own devices, and NCCL has threads of its
    // own that enqueue.
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(cudaStreamBeginCapture(context_.stream(),
                                          cudaStreamCaptureModeThreadLocal),
                   "cudaStreamBeginCapture"));
    context_.SetRecording(true);
    if (context_.watcher() != nullptr) context_.watcher()->BeginRecording();
    return absl::OkStatus();
  }

  // `graph` is the caller's to destroy, null after an error.
  absl::Status End(cudaGraph_t* graph, std::unique_ptr<RecordedNotes>* notes) {
    context_.SetRecording(false);
    if (context_.watcher() != nullptr) {
      *notes = context_.watcher()->EndRecording();
    }
    return CudaStatus(cudaStreamEndCapture(context_.stream(), graph),
                      "cudaStreamEndCapture");
  }

 private:
  DeviceContext& context_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RecordedGraph>> RecordedGraph::Record(
    DeviceContext& context, absl::FunctionRef<absl::Status()> enqueue) {
  std::unique_ptr<RecordedGraph> recorded(new RecordedGraph(context));
  Recording recording(context);
  CARAVAN_RETURN_IF_ERROR(recording.Begin());
  absl::Status status = enqueue();
  cudaGraph_t graph = nullptr;
  const absl::Status ended = recording.End(&graph, &recorded->notes_);
  if (status.ok()) status = ended;
  if (status.ok()) status = recorded->Instantiate(graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (!status.ok()) {
    cudaGetLastError();  // it has been told, and harms nothing else
    return status;
  }
  return recorded;
}

RecordedGraph::~RecordedGraph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
}

absl::Status RecordedGraph::Instantiate(cudaGraph_t graph) {
  size_t num_nodes = 0;
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaGraphGetNodes(graph, nullptr, &num_nodes), "cudaGraphGetNodes"));
  num_operations_ = static_cast<int64_t>(num_nodes);
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaGraphInstantiate(&executable_, graph, /*flags=*/0),
                 "cudaGraphInstantiate"));
  return CudaStatus(cudaGraphUpload(executable_, context_.stream()),
                    "cudaGraphUpload");
}

absl::Status RecordedGraph::Launch() {
  DeviceWatcher* const watcher =
      notes_ == nullptr ? nullptr : context_.watcher();
  if (watcher != nullptr) {
    CARAVAN_RETURN_IF_ERROR(watcher->BeforeReplay(*notes_));
  }
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaGraphLaunch(executable_, context_.stream()), "cudaGraphLaunch"));
  return watcher == nullptr ? absl::OkStatus() : watcher->AfterReplay(*notes_);
}

}  // namespace caravan::worker::cuda
