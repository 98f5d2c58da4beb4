#include "worker/backend/cuda/cuda_status.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace caravan::worker::cuda {
namespace {

// What the person who runs the engine can do about it, or "".
absl::string_view Advice(cudaError_t error) {
  switch (error) {
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
    case cudaErrorSystemDriverMismatch:
      return "; install NVIDIA's driver, or a newer one: `nvidia-smi` must run "
             "on this machine";
    case cudaErrorNoDevice:
      return "; no GPU is visible: see `nvidia-smi` and CUDA_VISIBLE_DEVICES";
    case cudaErrorInvalidDevice:
      return "; there are fewer GPUs than this number: see `nvidia-smi -L`";
    case cudaErrorNoKernelImageForDevice:
      return "; this build has no code for this GPU: see "
             "CARAVAN_CUDA_ARCHITECTURES";
    case cudaErrorSystemNotReady:
      return "; start NVIDIA's services (nvidia-fabricmanager) first";
    case cudaErrorDevicesUnavailable:
      return "; another process holds the GPU in exclusive mode";
    default:
      return "";
  }
}

}  // namespace

absl::Status CudaStatus(cudaError_t error, absl::string_view call) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // else a later call would seem to fail
  const absl::string_view advice = Advice(error);
  const std::string message =
      absl::StrCat(call, " failed: ", cudaGetErrorString(error), " (",
                   cudaGetErrorName(error), ")", advice);
  if (error == cudaErrorMemoryAllocation) {
    return absl::ResourceExhaustedError(message);
  }
  if (!advice.empty()) return absl::FailedPreconditionError(message);
  return absl::InternalError(message);
}

}  // namespace caravan::worker::cuda
