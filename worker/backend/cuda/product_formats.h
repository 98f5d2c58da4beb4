// The parts of product.h, by format; called by its functions only.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_FORMATS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_FORMATS_H_

#include "worker/backend/cuda/product.h"

namespace caravan::worker::cuda {

[[nodiscard]] cudaError_t LaunchFloatProduct(const ProductArguments& arguments,
                                             cudaStream_t stream);
[[nodiscard]] cudaError_t LaunchHalfProduct(const ProductArguments& arguments,
                                            cudaStream_t stream);
// Groups of 1 or 4 rows.
[[nodiscard]] cudaError_t LaunchQuantizedProduct(
    const ProductArguments& arguments, cudaStream_t stream);
// Groups of kMatrixGroup rows.
[[nodiscard]] cudaError_t LaunchQuantizedMatrixProduct(
    const ProductArguments& arguments, cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_FORMATS_H_
