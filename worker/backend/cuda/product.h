// Products of rows with a matrix, whose weights are read once for several rows.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/prepare_rows.h"
#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// Inputs are cut into so many parts of whole units, as equal as can be. An
// output is the sum, part after part, of the parts' sums, each of which adds up
// unit after unit from zero: an order that depends on the number of inputs
// alone, whatever kernel computes it. Plain formats: products in the order of
// the inputs, each fused with the addition. Quantized formats: per block the
// whole-number product, scaled and added as backend.h says, nothing fused.
constexpr int kInputParts = 8;

struct ProductArguments {
  WeightView weight;
  ProductInput x;
  int64_t num_rows = 0;  // of x
  // Outputs [0, split) of row r go to out + r * out_stride, the others to
  // second + r * second_stride.
  float* out = nullptr;
  int64_t out_stride = 0;
  float* second = nullptr;
  int64_t second_stride = 0;
  int64_t split = 0;
  // Added to `out`, like it; may be it.
  const float* residual = nullptr;
  int64_t residual_stride = 0;
};

// Enqueues out = weight * x (+ residual).
[[nodiscard]] cudaError_t Product(const ProductArguments& arguments,
                                  cudaStream_t stream);

// Enqueues out = SiLU(first half of weight's rows * x) . (second half * x).
// `split` counts outputs, of which there are weight.rows / 2.
[[nodiscard]] cudaError_t GatedProduct(const ProductArguments& arguments,
                                       cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_
