// How a kernel is started; the part of device.cuh that the device and its
// emulation share.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_LAUNCH_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_LAUNCH_CUH_

#include <cuda_runtime.h>

#include <cstddef>

namespace caravan::worker::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  // Dynamic shared memory; above 48 KiB only after AllowSharedBytes.
  size_t shared_bytes = 0;
  // All blocks are resident at once, so that GridSync may be called. The launch
  // fails with cudaErrorCooperativeLaunchTooLarge if they do not fit.
  bool cooperative = false;
  // May begin before the kernel before it in the stream has ended (programmatic
  // dependent launch, from sm_90 on). Every thread must then call
  // WaitForPreviousKernel before it touches what earlier work writes or reads.
  bool overlap_previous = false;
};

// Lets `kernel` be launched with up to `bytes` of dynamic shared memory on the
// current device. Once per kernel and device; not while capturing.
template <typename... Parameters>
[[nodiscard]] cudaError_t AllowSharedBytes(void (*kernel)(Parameters...),
                                           int bytes) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                              cudaFuncAttributeMaxDynamicSharedMemorySize,
                              bytes);
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_LAUNCH_CUH_
