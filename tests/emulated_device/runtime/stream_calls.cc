// Streams and host functions in them.
#include <cuda_runtime_api.h>

#include <utility>

#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/runtime/device_limits.h"
#include "tests/emulated_device/runtime/device_memory.h"
#include "tests/emulated_device/runtime/runtime_state.h"

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags,
                                         int priority) {
  if ((flags & ~cudaStreamNonBlocking) != 0) {
    return Remember(cudaErrorInvalidValue);
  }
  const RuntimeLock lock(RuntimeMutex());
  const cudaError_t error = DeviceError();
  if (error != cudaSuccess) return error;
  auto* made = new CUstream_st;
  made->device = CurrentDevice();
  made->blocking = (flags & cudaStreamNonBlocking) == 0;
  made->priority = priority;
  Runtime().streams.insert(made);
  *stream = made;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags,
                                      DeviceLimits::kLeastPriority);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

// What it holds is still done.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const RuntimeLock lock(RuntimeMutex());
  if (Runtime().streams.erase(stream) == 0) {
    return Remember(cudaErrorInvalidResourceHandle);
  }
  if (stream->capture != nullptr) stream->capture->valid = false;
  delete stream;
  return DeviceError();
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  RuntimeLock lock(RuntimeMutex());
  const cudaStream_t stream = ResolveStream(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) {
    stream->capture->valid = false;
    return Remember(cudaErrorStreamCaptureUnsupported);
  }
  const int device = stream->device;
  for (const OperationPtr& last : Predecessors(stream)) Await(last, lock);
  SeeGridEnds();
  CheckGuards();
  return Remember(Runtime().devices[device].error);
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  RuntimeLock lock(RuntimeMutex());
  const cudaStream_t stream = ResolveStream(handle);
  if (stream == nullptr) return Remember(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) {
    stream->capture->valid = false;
    return Remember(cudaErrorStreamCaptureUnsupported);
  }
  const int device = stream->device;
  bool done = true;
  for (const OperationPtr& last : Predecessors(stream)) {
    done = Advance(last, lock) && done;
  }
  if (done) SeeGridEnds();
  const cudaError_t error = Runtime().devices[device].error;
  if (error != cudaSuccess) return Remember(error);
  return done ? cudaSuccess : Remember(cudaErrorNotReady);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function,
                               void* data) {
  if (function == nullptr) return Remember(cudaErrorInvalidValue);
  return EnqueueFunction(stream, [function, data] { function(data); });
}

}  // extern "C"
