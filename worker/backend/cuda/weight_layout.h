// How a matrix lies on the device, for the kernels that read and write it.
//
// 32 output rows form a tile. A row is a series of units: blocks of 32 inputs
// where it is quantized, else the inputs of 16 bytes (the last filled up with
// zeros). A unit is 16 bytes of values, with kQ8 twice 16; the 32 rows' 16
// bytes stand side by side, unit after unit, so that a warp whose lanes are
// rows reads 512 contiguous bytes at a time, and so that eight rows' 16 bytes
// are one of the 8 x 8 matrices that tensor cores load. Quantized tiles have,
// in a part of their own, for each unit the 32 rows' float16 scales; with
// kQ4Minimum each is followed by its minimum. Values of 4 bits lie within 16
// bytes as base/weight_format.h says. The last tile is filled up with zeros.
//
// Weights of 16 bits may lie row-major instead, a row's units one after the
// other, as a library's products want them: as many bytes, with zeros in the
// same places.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_WEIGHT_LAYOUT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_WEIGHT_LAYOUT_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker::cuda {

// The names and order of caravan::WeightFormat.
enum class HeldFormat : int {
  kFloat32,
  kFloat16,
  kBFloat16,
  kQ8,
  kQ4,
  kQ4Minimum,
};

constexpr int kTileRows = 32;
constexpr int kUnitBytes = 16;
constexpr int kQuantizedInputs = 32;  // of a block

__host__ __device__ constexpr bool IsQuantized(HeldFormat format) {
  return format >= HeldFormat::kQ8;
}
// Inputs of a unit.
__host__ __device__ constexpr int UnitInputs(HeldFormat format) {
  if (IsQuantized(format)) return kQuantizedInputs;
  return format == HeldFormat::kFloat32 ? 4 : 8;
}
// 16-byte pieces of a unit of one row.
__host__ __device__ constexpr int UnitPieces(HeldFormat format) {
  return format == HeldFormat::kQ8 ? 2 : 1;
}
// Of a unit of one row.
__host__ __device__ constexpr int ScaleBytes(HeldFormat format) {
  if (!IsQuantized(format)) return 0;
  return format == HeldFormat::kQ4Minimum ? 4 : 2;
}

// A matrix (rows = outputs, cols = inputs) in the device's memory, 16-byte
// aligned.
struct WeightView {
  HeldFormat format = HeldFormat::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;
  void* values = nullptr;
  void* scales = nullptr;
  bool row_major = false;  // float16 and bfloat16 only

  __host__ __device__ int64_t num_units() const {
    return (cols + UnitInputs(format) - 1) / UnitInputs(format);
  }
  // Where a 16-byte piece of a row lies, counted in such pieces.
  __host__ __device__ int64_t PieceAt(int64_t row, int64_t piece) const {
    const int64_t pieces = num_units() * UnitPieces(format);
    if (row_major) return row * pieces + piece;
    return (row / kTileRows * pieces + piece) * kTileRows + row % kTileRows;
  }
  int64_t num_tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  int64_t value_bytes() const {
    return num_tiles() * kTileRows * num_units() * kUnitBytes *
           UnitPieces(format);
  }
  int64_t scale_bytes() const {
    return num_tiles() * kTileRows * num_units() * ScaleBytes(format);
  }
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_WEIGHT_LAYOUT_H_
