#include "worker/backend/cuda/device_context.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {
namespace {

// Steps are done within milliseconds: look often at first, then leave the
// processor to others.
constexpr absl::Duration kBusyTime = absl::Milliseconds(1);
constexpr absl::Duration kPause = absl::Microseconds(50);

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceContext>> DeviceContext::Create(
    const DeviceContextOptions& options) {
  std::unique_ptr<DeviceContext> context(new DeviceContext(options));
  CARAVAN_RETURN_IF_ERROR(
      Annotate(context->Start(), absl::StrCat("GPU ", options.device)));
  return context;
}

absl::Status DeviceContext::Start() {
  int count = 0;
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaGetDeviceCount(&count), "cudaGetDeviceCount"));
  if (options_.device < 0 || options_.device >= count) {
    return CudaStatus(cudaErrorInvalidDevice, "choosing the device");
  }
  CARAVAN_RETURN_IF_ERROR(MakeCurrent());
  cudaDeviceProp properties;
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaGetDeviceProperties(&properties, options_.device),
                 "cudaGetDeviceProperties"));
  name_ = properties.name;
  compute_capability_ = properties.major * 10 + properties.minor;
  num_multiprocessors_ = properties.multiProcessorCount;
  return CudaStatus(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                    "cudaStreamCreateWithFlags");
}

DeviceContext::~DeviceContext() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

absl::Status DeviceContext::MakeCurrent() const {
  return CudaStatus(cudaSetDevice(options_.device), "cudaSetDevice");
}

absl::Status DeviceContext::Poll(absl::FunctionRef<cudaError_t()> query,
                                 absl::string_view call) const {
  if (recording_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "work that is recorded cannot be waited for: call=", call));
  }
  const absl::Time start = absl::Now();
  while (true) {
    const cudaError_t error = query();
    if (error != cudaErrorNotReady) return CudaStatus(error, call);
    cudaGetLastError();  // "not ready" is none
    const absl::Duration waited = absl::Now() - start;
    if (waited > options_.timeout) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the GPU is not done: after=", absl::FormatDuration(options_.timeout),
          " call=", call));
    }
    if (waited < kBusyTime) {
      std::this_thread::yield();
      continue;
    }
    if (watcher_ != nullptr) {
      CARAVAN_RETURN_IF_ERROR(watcher_->OnWait(waited));
    }
    absl::SleepFor(kPause);
  }
}

absl::Status DeviceContext::Wait() const {
  return Poll([this] { return cudaStreamQuery(stream_); }, "cudaStreamQuery");
}

absl::Status DeviceContext::WaitFor(cudaEvent_t event) const {
  return Poll([event] { return cudaEventQuery(event); }, "cudaEventQuery");
}

}  // namespace caravan::worker::cuda
