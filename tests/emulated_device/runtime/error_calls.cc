// Errors: what a thread was told last, and what a device has come to.
#include <cuda_runtime_api.h>

#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Description {
  cudaError_t error;
  const char* name;
  const char* text;
};
#define CARAVAN_ERROR(name, text) {name, #name, text}
constexpr Description kDescriptions[] = {
    CARAVAN_ERROR(cudaSuccess, "no error"),
    CARAVAN_ERROR(cudaErrorInvalidValue, "invalid argument"),
    CARAVAN_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    CARAVAN_ERROR(cudaErrorInvalidConfiguration,
                  "invalid configuration argument"),
    CARAVAN_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    CARAVAN_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    CARAVAN_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    CARAVAN_ERROR(cudaErrorNotReady, "device not ready"),
    CARAVAN_ERROR(cudaErrorIllegalAddress,
                  "an illegal memory access was encountered"),
    CARAVAN_ERROR(cudaErrorLaunchTimeout,
                  "the launch timed out and was terminated"),
    CARAVAN_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    CARAVAN_ERROR(cudaErrorIllegalInstruction,
                  "an illegal instruction was encountered"),
    CARAVAN_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    CARAVAN_ERROR(cudaErrorCooperativeLaunchTooLarge,
                  "too many blocks in cooperative launch"),
    CARAVAN_ERROR(cudaErrorPeerAccessAlreadyEnabled,
                  "peer access is already enabled"),
    CARAVAN_ERROR(cudaErrorPeerAccessNotEnabled,
                  "peer access has not been enabled"),
    CARAVAN_ERROR(cudaErrorPeerAccessUnsupported,
                  "peer access is not supported between these two devices"),
    CARAVAN_ERROR(
        cudaErrorHostMemoryAlreadyRegistered,
        "part or all of the requested memory range is already mapped"),
    CARAVAN_ERROR(cudaErrorHostMemoryNotRegistered,
                  "pointer does not correspond to a registered memory region"),
    CARAVAN_ERROR(cudaErrorStreamCaptureUnsupported,
                  "operation not permitted when stream is capturing"),
    CARAVAN_ERROR(cudaErrorStreamCaptureInvalidated,
                  "operation failed due to a previous error during capture"),
    CARAVAN_ERROR(cudaErrorStreamCaptureMerge,
                  "operation would result in a merge of separate captures"),
    CARAVAN_ERROR(cudaErrorStreamCaptureUnmatched,
                  "capture was not ended in the same stream as it began"),
    CARAVAN_ERROR(cudaErrorStreamCaptureUnjoined,
                  "capturing stream has unjoined work"),
    CARAVAN_ERROR(cudaErrorStreamCaptureIsolation,
                  "dependency created on uncaptured work in another stream"),
    CARAVAN_ERROR(cudaErrorStreamCaptureImplicit,
                  "operation would make the legacy stream depend on a capture"),
    CARAVAN_ERROR(cudaErrorStreamCaptureWrongThread,
                  "attempt to end a capture from another thread"),
    CARAVAN_ERROR(cudaErrorCapturedEvent,
                  "operation not permitted on an event last recorded in a "
                  "capturing stream"),
    CARAVAN_ERROR(cudaErrorNotSupported, "operation not supported"),
};
#undef CARAVAN_ERROR

constexpr Description kUnknown = {cudaErrorUnknown, "cudaErrorUnknown",
                                  "unknown error"};

const Description& Describe(cudaError_t error) {
  for (const Description& description : kDescriptions) {
    if (description.error == error) return description;
  }
  return kUnknown;
}

cudaError_t LastError() {
  if (last_error != cudaSuccess) return last_error;
  const RuntimeLock lock(RuntimeMutex());
  return Runtime().devices[CurrentDevice()].error;
}

}  // namespace

cudaError_t Remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t error = LastError();
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return LastError(); }
const char* cudaGetErrorName(cudaError_t error) { return Describe(error).name; }
const char* cudaGetErrorString(cudaError_t error) {
  return Describe(error).text;
}

}  // extern "C"
