#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product_output.cuh"
#include "worker/backend/cuda/silu_multiply.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 256;

// Limits: 32 registers, 0 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads)
    SiluMultiplyKernel(SiluMultiplyArguments a) {
  const int64_t col = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  if (col >= a.num_cols) return;
  const int64_t row = blockIdx.x;
  float* out = a.out + row * a.out_stride + col;
  *out = GatedSilu(a.gate[row * a.num_cols + col], *out);
}

}  // namespace

cudaError_t SiluMultiply(const SiluMultiplyArguments& a, cudaStream_t stream) {
  constexpr int64_t kMaxRows = 0x7fffffff;  // of a grid
  constexpr int64_t kMaxCols = int64_t{65535} * kThreads;
  if (a.num_rows < 0 || a.num_rows > kMaxRows || a.num_cols < 1 ||
      a.num_cols > kMaxCols || a.out_stride < a.num_cols) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  const dim3 grid(
      static_cast<unsigned>(a.num_rows),
      static_cast<unsigned>((a.num_cols + kThreads - 1) / kThreads));
  return Launch(SiluMultiplyKernel, {grid, dim3(kThreads)}, stream, a);
}

}  // namespace caravan::worker::cuda
