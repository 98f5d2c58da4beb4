// Events: marks in streams, and waiting for them.
#include <cuda_runtime_api.h>

#include <chrono>
#include <memory>
#include <utility>

#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

class MarkTime final : public Work {
 public:
  explicit MarkTime(std::shared_ptr<double> seconds)
      : seconds_(std::move(seconds)) {}
  bool Advance() override {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    *seconds_ = std::chrono::duration<double>(now).count();
    return true;
  }

 private:
  const std::shared_ptr<double> seconds_;
};

class Nothing final : public Work {
 public:
  bool Advance() override { return true; }
};

bool IsEvent(cudaEvent_t event) { return Runtime().events.count(event) != 0; }

// The stream becomes part of the capture that recorded the event, if it is not.
cudaError_t JoinCapture(cudaStream_t stream, const CUevent_st& event) {
  const std::shared_ptr<Capture> capture = event.capture.lock();
  if (capture == nullptr) return Remember(cudaErrorCapturedEvent);
  if (stream->capture != nullptr && stream->capture != capture) {
    stream->capture->valid = capture->valid = false;
    return Remember(cudaErrorStreamCaptureMerge);
  }
  if (stream->capture == nullptr) stream->capture_last.clear();
  stream->capture = capture;
  stream->capture_last.insert(stream->capture_last.end(),
                              event.capture_nodes.begin(),
                              event.capture_nodes.end());
  return cudaSuccess;
}

// What a query or wait of an event finds wrong with it.
cudaError_t CheckEvent(cudaEvent_t event) {
  if (!IsEvent(event)) return Remember(cudaErrorInvalidResourceHandle);
  if (event->captured) return Remember(cudaErrorCapturedEvent);
  return CheckNoCapture();
}

}  // namespace
}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const RuntimeLock lock(RuntimeMutex());
  const cudaError_t error = DeviceError();
  if (error != cudaSuccess) return error;
  auto* made = new CUevent_st;
  made->device = CurrentDevice();
  made->timing = (flags & cudaEventDisableTiming) == 0;
  Runtime().events.insert(made);
  *event = made;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const RuntimeLock lock(RuntimeMutex());
  if (Runtime().events.erase(event) == 0) {
    return Remember(cudaErrorInvalidResourceHandle);
  }
  delete event;
  return DeviceError();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  RuntimeLock lock(RuntimeMutex());
  const cudaStream_t stream = ResolveStream(handle);
  if (stream == nullptr || !IsEvent(event) || event->device != stream->device) {
    return Remember(cudaErrorInvalidResourceHandle);
  }
  if (stream->capture != nullptr) {
    event->captured = true;
    event->capture = stream->capture;
    event->capture_nodes = stream->capture_last;
    event->operation = nullptr;
    return cudaSuccess;
  }
  const cudaError_t error = CheckNoImplicitDependency(stream);
  if (error != cudaSuccess) return error;
  event->captured = false;
  event->seconds = std::make_shared<double>(0);
  event->operation = Append(stream, [seconds = event->seconds] {
    return std::make_unique<MarkTime>(seconds);
  });
  ++Runtime().devices[stream->device].enqueued.events;
  AfterSubmit(lock);
  return DeviceError();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event,
                                unsigned) {
  RuntimeLock lock(RuntimeMutex());
  const cudaStream_t stream = ResolveStream(handle);
  if (stream == nullptr || !IsEvent(event)) {
    return Remember(cudaErrorInvalidResourceHandle);
  }
  if (event->captured) return JoinCapture(stream, *event);
  if (stream->capture != nullptr) {
    stream->capture->valid = false;
    return Remember(cudaErrorStreamCaptureIsolation);
  }
  if (event->operation == nullptr || event->operation->done) {
    return cudaSuccess;
  }
  const OperationPtr wait =
      Append(stream, [] { return std::make_unique<Nothing>(); });
  wait->after.push_back(event->operation);
  return DeviceError();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  RuntimeLock lock(RuntimeMutex());
  const cudaError_t error = CheckEvent(event);
  if (error != cudaSuccess) return error;
  const int device = event->device;
  const OperationPtr operation = event->operation;
  Await(operation, lock);
  return Remember(Runtime().devices[device].error);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  RuntimeLock lock(RuntimeMutex());
  cudaError_t error = CheckEvent(event);
  if (error != cudaSuccess) return error;
  const int device = event->device;
  const OperationPtr operation = event->operation;
  const bool done = operation == nullptr || Advance(operation, lock);
  if (done) SeeGridEnds();
  error = Runtime().devices[device].error;
  if (error != cudaSuccess) return Remember(error);
  return done ? cudaSuccess : Remember(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start,
                                 cudaEvent_t end) {
  const RuntimeLock lock(RuntimeMutex());
  for (const cudaEvent_t event : {start, end}) {
    if (!IsEvent(event) || !event->timing || event->operation == nullptr) {
      return Remember(cudaErrorInvalidResourceHandle);
    }
  }
  if (!start->operation->done || !end->operation->done) {
    return Remember(cudaErrorNotReady);
  }
  *milliseconds = static_cast<float>((*end->seconds - *start->seconds) * 1e3);
  return cudaSuccess;
}

}  // extern "C"
