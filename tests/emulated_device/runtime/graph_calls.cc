// Captures and graphs.
#include <cuda_runtime_api.h>

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

class Nothing final : public Work {
 public:
  bool Advance() override { return true; }
};

// Whether everything that `stream` captured comes before the origin's end.
bool IsJoined(const CUstream_st& stream, const CUstream_st& origin) {
  const CUgraph_st& graph = stream.capture->graph;
  std::set<size_t> reached;
  std::vector<size_t> left = origin.capture_last;
  while (!left.empty()) {
    const size_t node = left.back();
    left.pop_back();
    if (!reached.insert(node).second) continue;
    const std::vector<size_t>& after = graph.nodes[node].after;
    left.insert(left.end(), after.begin(), after.end());
  }
  for (const size_t node : stream.capture_last) {
    if (reached.count(node) == 0) return false;
  }
  return true;
}

// Takes all streams out of the capture; false if one was not joined.
bool EndCapture(const std::shared_ptr<Capture>& capture) {
  bool joined = true;
  for (const cudaStream_t stream : Runtime().streams) {
    if (stream->capture != capture) continue;
    joined = joined && IsJoined(*stream, *capture->origin);
  }
  for (const cudaStream_t stream : Runtime().streams) {
    if (stream->capture != capture) continue;
    stream->capture = nullptr;
    stream->capture_last.clear();
  }
  Runtime().captures.erase(capture);
  return joined;
}

// The nodes as operations of the stream, and one that ends them all.
void AppendGraph(cudaStream_t stream, CUgraphExec_st& exec) {
  std::vector<OperationPtr> before = Predecessors(stream);
  if (exec.last != nullptr && !exec.last->done) before.push_back(exec.last);
  const auto end = std::make_shared<Operation>();
  end->device = stream->device;
  end->make = [] { return std::make_unique<Nothing>(); };
  end->after = before;
  std::vector<OperationPtr> operations;
  for (const CUgraph_st::Node& node : exec.graph.nodes) {
    const auto operation = std::make_shared<Operation>();
    operation->device = node.device;
    operation->make = node.make;
    operation->after = before;
    for (const size_t i : node.after) operation->after.push_back(operations[i]);
    operations.push_back(operation);
    end->after.push_back(operation);
    Submit(operation);
  }
  Submit(end);
  stream->last = exec.last = end;
}

}  // namespace

void InjectGraphError(int device, cudaError_t error) {
  const RuntimeLock lock(RuntimeMutex());
  Runtime().devices[device].graph_error = error;
}

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle,
                                   cudaStreamCaptureMode mode) {
  const RuntimeLock lock(RuntimeMutex());
  if (Runtime().streams.count(handle) == 0) {  // the legacy stream included
    return Remember(cudaErrorStreamCaptureUnsupported);
  }
  if (handle->capture != nullptr) return Remember(cudaErrorIllegalState);
  const auto capture = std::make_shared<Capture>();
  capture->origin = handle;
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  handle->capture = capture;
  handle->capture_last.clear();
  Runtime().captures.insert(capture);
  return DeviceError();
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const RuntimeLock lock(RuntimeMutex());
  *graph = nullptr;
  if (Runtime().streams.count(stream) == 0 || stream->capture == nullptr) {
    return Remember(cudaErrorIllegalState);
  }
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) {
    capture->valid = false;
    return Remember(cudaErrorStreamCaptureUnmatched);
  }
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->thread != std::this_thread::get_id()) {
    return Remember(cudaErrorStreamCaptureWrongThread);
  }
  const bool joined = EndCapture(capture);
  if (!capture->valid) return Remember(cudaErrorStreamCaptureInvalidated);
  if (!joined) return Remember(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st(std::move(capture->graph));
  return DeviceError();
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle,
                                  cudaStreamCaptureStatus* status) {
  const RuntimeLock lock(RuntimeMutex());
  const cudaStream_t stream = ResolveStream(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  *status = cudaStreamCaptureStatusNone;
  if (stream->capture != nullptr) {
    *status = stream->capture->valid ? cudaStreamCaptureStatusActive
                                     : cudaStreamCaptureStatusInvalidated;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long) {
  const RuntimeLock lock(RuntimeMutex());
  if (graph == nullptr) return Remember(cudaErrorInvalidValue);
  const cudaError_t error = Runtime().devices[CurrentDevice()].graph_error;
  if (error != cudaSuccess) return Remember(error);
  *exec = new CUgraphExec_st{*graph, nullptr};
  return DeviceError();
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes,
                              size_t* count) {
  // Nodes have no handles here: only their number can be had.
  if (nodes != nullptr) return Remember(cudaErrorNotSupported);
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t stream) {
  const RuntimeLock lock(RuntimeMutex());
  if (ResolveStream(stream) == nullptr) {
    return Remember(cudaErrorInvalidResourceHandle);
  }
  return DeviceError();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
  RuntimeLock lock(RuntimeMutex());
  const cudaStream_t stream = ResolveStream(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return Remember(cudaErrorNotSupported);
  cudaError_t error = CheckNoImplicitDependency(stream);
  if (error == cudaSuccess) {
    error = Remember(Runtime().devices[stream->device].error);
  }
  if (error != cudaSuccess) return error;
  AppendGraph(stream, *exec);
  ++Runtime().devices[stream->device].enqueued.graphs;
  AfterSubmit(lock);
  return cudaSuccess;
}

}  // extern "C"
