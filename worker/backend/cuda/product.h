// Products of rows with a matrix, whose weights are read once for several rows.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/prepare_rows.h"
#include "worker/backend/cuda/rotate.h"
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
  Rotation rotation;  // of RotatedProduct
  // Set by the functions below. 0: each row of the weight makes an output. Else
  // two rows do, so many apart: of every 2 * pair_distance neighbours the first
  // half with the second.
  int pair_distance = 0;

  // Or pairs of them.
  __host__ __device__ int64_t NumOutputs() const {
    return pair_distance > 0 ? weight.rows / 2 : weight.rows;
  }
  // The weight's row that makes an output, the second one of a pair.
  __host__ __device__ int64_t PairRow(int64_t output, int second) const {
    const int pair = static_cast<int>(output);
    return output + (pair / pair_distance + second) *
                        static_cast<int64_t>(pair_distance);
  }
};

// Enqueues out = weight * x (+ residual).
[[nodiscard]] cudaError_t Product(const ProductArguments& arguments,
                                  cudaStream_t stream);

// Enqueues out = SiLU(first half of weight's rows * x) . (second half * x).
// `split` counts outputs, of which there are weight.rows / 2.
[[nodiscard]] cudaError_t GatedProduct(ProductArguments arguments,
                                       cudaStream_t stream);

// Whether RotatedProduct knows such heads and numbers of rows: tensor cores
// take neighbours by 16, which half a head must be made of, and their large
// tiles leave no registers for it.
constexpr bool CanRotateProduct(int64_t head_dim, int64_t num_rows) {
  return head_dim > 0 && head_dim % 32 == 0 && num_rows < kManyRows;
}

// Enqueues the product with rows that make all query heads, then key heads,
// then value heads, and what RotateAndStore would make of it: `out` takes the
// queries. `split`, `second` and `residual` mean nothing.
[[nodiscard]] cudaError_t RotatedProduct(ProductArguments arguments,
                                         cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_H_
