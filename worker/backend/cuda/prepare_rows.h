// Rows of activations as products want them: chosen, normalized, quantized.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PREPARE_ROWS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PREPARE_ROWS_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker::cuda {

// Rows that a product reads: float32, or quantized in blocks of 32 as backend.h
// says. Rows lie in groups, and within a group piece by piece, so that a thread
// reads a piece of all rows of its group at one address: pieces are 8 floats,
// or a block of 32 values. What fills up the last group is undefined and may be
// read; what fills up the last piece of a row is zero. All 16-byte aligned.
struct ProductInput {
  int group = 1;                  // rows of a group: 1, 4 or 8
  const float* floats = nullptr;  // (groups, pieces, group, 8)
  // (groups, blocks, group, 32), and of each block the scale and the sum of its
  // values: (groups, blocks, group).
  const int8_t* values = nullptr;
  const float2* scales = nullptr;
};

constexpr int kFloatPiece = 8;
constexpr int kLargestGroup = 8;

// The group that suits a product of so many rows.
constexpr int GroupFor(int64_t num_rows) {
  if (num_rows == 1) return 1;
  return num_rows <= 4 ? 4 : kLargestGroup;
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
  // Where it goes: `floats` or else `values` and `scales`, to be written.
  ProductInput to;
};

// Enqueues. A row depends on its own row of x alone. All is on the device.
[[nodiscard]] cudaError_t PrepareRows(const PrepareRowsArguments& arguments,
                                      cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PREPARE_ROWS_H_
