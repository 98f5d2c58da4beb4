#include "tests/emulated_device/runtime/runtime_state.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "tests/emulated_device/engine/grid_run.h"

namespace caravan::emulated {
namespace {

thread_local int current_device = 0;

// Not made at its first use: ThreadSanitizer, which does not see into this
// code, could not tell that its making comes first.
constinit std::mutex runtime_mutex;
static_assert(std::is_trivially_destructible_v<std::mutex>,
              "it must outlive detached threads");

// A function that runs once, after the kernels before it.
class FunctionWork final : public Work {
 public:
  explicit FunctionWork(const std::function<void()>& run) : run_(run) {}
  bool Advance() override {
    SeeGridEnds();
    run_();
    return true;
  }

 private:
  const std::function<void()> run_;
};

// Whether the calling thread may not make unsafe calls during `capture`.
bool Forbids(const Capture& capture) {
  switch (capture.mode) {
    case cudaStreamCaptureModeGlobal:
      return true;
    case cudaStreamCaptureModeThreadLocal:
      return capture.thread == std::this_thread::get_id();
    case cudaStreamCaptureModeRelaxed:
      return false;
  }
  return true;
}

}  // namespace

std::mutex& RuntimeMutex() { return runtime_mutex; }

RuntimeState& Runtime() {
  static RuntimeState* state = new RuntimeState;
  return *state;
}

int CurrentDevice() { return current_device; }
void SetCurrentDevice(int device) { current_device = device; }

int StreamDevice(cudaStream_t stream) {
  const RuntimeLock lock(RuntimeMutex());
  const cudaStream_t resolved = ResolveStream(stream);
  return resolved != nullptr ? resolved->device : current_device;
}

EnqueueCalls EnqueueCallsMade(int device) {
  const RuntimeLock lock(RuntimeMutex());
  return Runtime().devices[device].enqueued;
}

cudaError_t DeviceError() {
  return Remember(Runtime().devices[current_device].error);
}

void FailDevice(int device, cudaError_t error, std::string why) {
  const RuntimeLock lock(RuntimeMutex());
  Device& state = Runtime().devices[device];
  if (state.error != cudaSuccess) return;
  state.error = error;
  state.fault = std::move(why);
}

std::string DeviceFault(int device) {
  const RuntimeLock lock(RuntimeMutex());
  return Runtime().devices[device].fault;
}

cudaStream_t ResolveStream(cudaStream_t handle) {
  RuntimeState& runtime = Runtime();
  if (handle != nullptr && handle != cudaStreamLegacy) {
    return runtime.streams.count(handle) != 0 ? handle : nullptr;
  }
  Device& device = runtime.devices[current_device];
  if (device.legacy_stream == nullptr) {
    device.legacy_stream = new CUstream_st;
    device.legacy_stream->device = current_device;
  }
  return device.legacy_stream;
}

std::vector<OperationPtr> Predecessors(cudaStream_t stream) {
  std::vector<OperationPtr> before;
  const auto add = [&before](const CUstream_st& other) {
    if (other.last != nullptr && !other.last->done) {
      before.push_back(other.last);
    }
  };
  add(*stream);
  const cudaStream_t legacy = Runtime().devices[stream->device].legacy_stream;
  if (stream == legacy) {
    for (const cudaStream_t other : Runtime().streams) {
      if (other->device == stream->device && other->blocking) add(*other);
    }
  } else if (stream->blocking && legacy != nullptr) {
    add(*legacy);
  }
  return before;
}

OperationPtr Append(cudaStream_t stream, WorkFactory make) {
  auto operation = std::make_shared<Operation>();
  operation->device = stream->device;
  operation->make = std::move(make);
  operation->after = Predecessors(stream);
  stream->last = operation;
  Submit(operation);
  return operation;
}

size_t AppendNode(cudaStream_t stream, WorkFactory make) {
  CUgraph_st& graph = stream->capture->graph;
  graph.nodes.push_back(
      {stream->device, std::move(make), stream->capture_last});
  stream->capture_last = {graph.nodes.size() - 1};
  return graph.nodes.size() - 1;
}

cudaError_t CheckNoCapture() {
  for (const std::shared_ptr<Capture>& capture : Runtime().captures) {
    if (!Forbids(*capture)) continue;
    capture->valid = false;
    return Remember(cudaErrorStreamCaptureUnsupported);
  }
  return cudaSuccess;
}

cudaError_t CheckNoImplicitDependency(cudaStream_t stream) {
  if (stream != Runtime().devices[stream->device].legacy_stream) {
    return cudaSuccess;
  }
  for (const std::shared_ptr<Capture>& capture : Runtime().captures) {
    if (!capture->origin->blocking && !Forbids(*capture)) continue;
    capture->valid = false;
    return Remember(cudaErrorStreamCaptureImplicit);
  }
  return cudaSuccess;
}

cudaError_t EnqueueWork(cudaStream_t handle, WorkFactory make) {
  RuntimeLock lock(RuntimeMutex());
  const cudaStream_t stream = ResolveStream(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  if (Runtime().devices[stream->device].error != cudaSuccess) {
    return Remember(Runtime().devices[stream->device].error);
  }
  if (stream->capture != nullptr) {
    if (!stream->capture->valid) {
      return Remember(cudaErrorStreamCaptureInvalidated);
    }
    AppendNode(stream, std::move(make));
    return cudaSuccess;
  }
  const cudaError_t error = CheckNoImplicitDependency(stream);
  if (error != cudaSuccess) return error;
  Append(stream, std::move(make));
  ++Runtime().devices[stream->device].enqueued.operations;
  AfterSubmit(lock);
  return cudaSuccess;
}

cudaError_t EnqueueFunction(cudaStream_t stream, std::function<void()> run) {
  return EnqueueWork(stream, [run = std::move(run)] {
    return std::make_unique<FunctionWork>(run);
  });
}

}  // namespace caravan::emulated
