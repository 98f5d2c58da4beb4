// The part of a gated product that a library's product leaves to be done.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_SILU_MULTIPLY_H_
#define CARAVAN_WORKER_BACKEND_CUDA_SILU_MULTIPLY_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker::cuda {

struct SiluMultiplyArguments {
  const float* gate = nullptr;  // (num_rows, num_cols)
  float* out = nullptr;         // num_cols of each row, out_stride apart
  int64_t out_stride = 0;
  int64_t num_rows = 0;
  int64_t num_cols = 0;
};

// Enqueues out = SiLU(gate) . out.
[[nodiscard]] cudaError_t SiluMultiply(const SiluMultiplyArguments& arguments,
                                       cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_SILU_MULTIPLY_H_
