// Products of rows with a matrix, whose weights are read once for several rows.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/prepare_rows.h"
#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// Inputs are cut into so many parts of whole steps, as equal as can be. An
// output is the sum, part after part, of the parts' sums, each of which adds up
// step after step from zero: an order that depends on the number of inputs
// alone, whatever kernel computes it.
//   float32            steps of 4 inputs: products in the order of the inputs,
//                      each fused with the addition
//   float16, bfloat16  of 16, by tensor cores, m16n8k16 with float32 sums: the
//                      products with the high parts of x, then those with the
//                      low parts (prepare_rows.h); then the sum's factor
//   quantized          blocks of 32: the whole-number product, scaled and added
//                      as backend.h says, nothing fused
constexpr int kInputParts = 8;

// The first step of a part; that of kInputParts is the number of steps.
template <typename Integer>
__host__ __device__ constexpr Integer PartBegin(Integer num_steps, int part) {
  return num_steps * part / kInputParts;
}

// From so many rows on tensor cores make large tiles: many rows share what is
// read of the weight, but there are few tiles, which leaves multiprocessors
// idle if there are few rows. Any number gives the same bits; which is the
// fastest has not been measured.
constexpr int64_t kManyRows = 65;

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
