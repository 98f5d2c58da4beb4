// What the kernels of product.h do with a sum, whichever made it.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_OUTPUT_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_OUTPUT_CUH_

#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product.h"

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

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_OUTPUT_CUH_
