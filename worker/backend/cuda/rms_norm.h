// Root-mean-square normalization of rows: out = x / rms(x) * weight.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_RMS_NORM_H_
#define CARAVAN_WORKER_BACKEND_CUDA_RMS_NORM_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker::cuda {

// All on the device, 16-byte aligned; `x` and `out` row-major. T is float,
// __half or __nv_bfloat16; sums are float32 in an order that depends on `cols`
// alone. `out` may be `x`.
template <typename T>
struct RmsNormArguments {
  const T* x = nullptr;           // [rows][cols]
  const float* weight = nullptr;  // [cols]
  T* out = nullptr;               // [rows][cols]
  int64_t rows = 0;
  int cols = 0;  // even
  float epsilon = 0;
};

// Enqueues; cudaErrorInvalidValue for a shape that is not as said above.
[[nodiscard]] cudaError_t RmsNorm(const RmsNormArguments<float>& arguments,
                                  cudaStream_t stream);
[[nodiscard]] cudaError_t RmsNorm(const RmsNormArguments<__half>& arguments,
                                  cudaStream_t stream);
[[nodiscard]] cudaError_t RmsNorm(
    const RmsNormArguments<__nv_bfloat16>& arguments, cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_RMS_NORM_H_
