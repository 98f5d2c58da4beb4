// Rows of activations as products want them: chosen, normalized, quantized.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PREPARE_ROWS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PREPARE_ROWS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// Rows that a product reads, as the weight's format wants them. Rows lie in
// groups, and within a group piece by piece, so that a thread, or tensor cores,
// read a piece of all rows of its group at one address. What fills up the last
// group is undefined and may be read; what fills up the last piece of a row is
// zero. All 16-byte aligned.
struct ProductInput {
  HeldFormat format = HeldFormat::kFloat32;
  int group = 1;  // rows of a group: 1, 4 or 8
  // For float32: (groups, pieces, group, 8).
  const float* floats = nullptr;
  // For float16 and bfloat16, numbers of that type: (groups, pieces of 16, high
  // and low, halves of the piece, 8 rows, 8). Row r of x is factors[r] * (high
  // + low), where high is the number next to x / factor, low the one next to
  // what is left. So they have 22 bits of x as float16 and 16 as bfloat16, but
  // for float16 fewer of what is 2^17 times smaller than the row's largest. The
  // factor is a power of two: the largest high is between 2^14 and 2^15, the
  // better for small ones, or, where weights may be as large as any float32,
  // between 1/2 and 1. A row with a value that is not finite is NaN.
  const uint16_t* halves = nullptr;
  const float* factors = nullptr;
  // In place of these, for a library's product: each x as the one number of the
  // weights' type next to it, (rows, inputs of the weight's units), row-major.
  // A finite x stays finite: beyond float16's range it becomes its last number.
  uint16_t* rounded = nullptr;
  // Quantized in blocks of 32 as backend.h says: (groups, blocks, halves of the
  // block, group, 16), and of each block the scale and the sum of its values:
  // (groups, blocks, group).
  const int8_t* values = nullptr;
  const float2* scales = nullptr;
};

constexpr int kFloatPiece = 8;
constexpr int kHalfPiece = 16;
// Rows of a group that tensor cores read.
constexpr int kMatrixGroup = 8;

constexpr bool IsHalf(HeldFormat format) {
  return format == HeldFormat::kFloat16 || format == HeldFormat::kBFloat16;
}

// The group that suits a product of so many rows. Tensor cores always add for
// eight rows, which costs more than fewer rows' dot products without them do;
// halves have no choice, since the order in which tensor cores add them up is
// their own, and a row's bits must not depend on the number of rows.
constexpr int GroupFor(HeldFormat format, int64_t num_rows) {
  if (IsHalf(format) || num_rows > 4) return kMatrixGroup;
  return num_rows == 1 ? 1 : 4;
}

struct PrepareRowsArguments {
  const float* x = nullptr;  // (any, cols)
  int64_t cols = 0;
  int64_t num_rows = 0;
  // Row i is made of row indices[i] of x, or of row i where this is null.
  const int64_t* indices = nullptr;
  // Multiplied with x / sqrt(mean(x^2) + epsilon); null: x stays as it is.
  const float* norm = nullptr;
  float epsilon = 0;
  // Where it goes: what its format reads is written.
  ProductInput to;
};

// Enqueues. A row depends on its own row of x alone. All is on the device.
[[nodiscard]] cudaError_t PrepareRows(const PrepareRowsArguments& arguments,
                                      cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PREPARE_ROWS_H_
