// What the kernels of product.h do with a sum, whichever made it.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_OUTPUT_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_OUTPUT_CUH_

#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/rotate_pair.cuh"

namespace caravan::worker::cuda {

__device__ __forceinline__ void WriteProduct(const ProductArguments& a,
                                             int64_t row, int64_t output,
                                             float value) {
  if (output >= a.split) {
    a.second[row * a.second_stride + output - a.split] = value;
    return;
  }
  if (a.residual != nullptr) {
    value += a.residual[row * a.residual_stride + output];
  }
  a.out[row * a.out_stride + output] = value;
}

__device__ __forceinline__ float GatedSilu(float gate, float up) {
  return gate / (1.0f + expf(-gate)) * up;
}

// The sums of a pair of the weight's rows, of GatedProduct.
__device__ __forceinline__ void WriteGated(const ProductArguments& a,
                                           int64_t row, int64_t output,
                                           float first, float second) {
  WriteProduct(a, row, output, GatedSilu(first, second));
}

// The same, or of RotatedProduct.
__device__ __forceinline__ void WritePair(const ProductArguments& a,
                                          int64_t row, int64_t output,
                                          float first, float second) {
  if (a.rotation.places == nullptr) {
    return WriteGated(a, row, output, first, second);
  }
  const int pair = static_cast<int>(output);
  RotateAndStorePair(a.rotation, row,
                     {pair / a.pair_distance, pair % a.pair_distance,
                      make_float2(first, second)},
                     a.out + row * a.out_stride);
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_OUTPUT_CUH_
