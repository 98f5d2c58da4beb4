// Numbers as the KV cache holds them.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_CACHED_NUMBER_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_CACHED_NUMBER_CUH_

#include <type_traits>

#include "worker/backend/cuda/numbers.cuh"

namespace caravan::worker::cuda {

// Rounds to nearest even. Numbers beyond T's range become its largest: an
// infinity would make NaN of all that attends to it. NaN stays.
template <typename T>
__host__ __device__ inline T ToCached(float value) {
  if constexpr (std::is_same_v<T, __half>) {
    constexpr float kLargest = 65504;
    if (value > kLargest) value = kLargest;
    if (value < -kLargest) value = -kLargest;
  }
  return FromFloat<T>(value);
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_CACHED_NUMBER_CUH_
