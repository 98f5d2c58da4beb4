#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/embed.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 256;

// Byte `byte` of a unit of one row.
__device__ const unsigned char* BytesOf(const WeightView& table, int64_t row,
                                        int64_t unit, int byte) {
  const int64_t piece = unit * UnitPieces(table.format) + byte / kUnitBytes;
  return static_cast<const unsigned char*>(table.values) +
         table.PieceAt(row, piece) * kUnitBytes + byte % kUnitBytes;
}

__device__ float PlainElement(const WeightView& table, int64_t row,
                              int64_t col) {
  const int inputs = UnitInputs(table.format);
  const int bytes = kUnitBytes / inputs;
  const unsigned char* at =
      BytesOf(table, row, col / inputs, static_cast<int>(col % inputs) * bytes);
  if (table.format == HeldFormat::kFloat32) {
    return *reinterpret_cast<const float*>(at);
  }
  const uint32_t bits = *reinterpret_cast<const uint16_t*>(at);
  return table.format == HeldFormat::kFloat16
             ? ToFloat2(PairFromBits<__half>(bits)).x
             : ToFloat2(PairFromBits<__nv_bfloat16>(bits)).x;
}

__device__ float QuantizedElement(const WeightView& table, int64_t row,
                                  int64_t col) {
  const int64_t unit = col / kQuantizedInputs;
  const int input = static_cast<int>(col % kQuantizedInputs);
  const int64_t block =
      (row / kTileRows * table.num_units() + unit) * kTileRows +
      row % kTileRows;
  if (table.format == HeldFormat::kQ4Minimum) {
    const uint32_t bits = static_cast<const uint32_t*>(table.scales)[block];
    const float2 scale = ToFloat2(PairFromBits<__half>(bits));
    const int byte = *BytesOf(table, row, unit, input % 16);
    const int quant = input < 16 ? byte & 15 : byte >> 4;
    return static_cast<float>(quant) * scale.x + scale.y;
  }
  const uint16_t bits = static_cast<const uint16_t*>(table.scales)[block];
  const float scale = ToFloat2(PairFromBits<__half>(bits)).x;
  if (table.format == HeldFormat::kQ8) {
    const auto quant =
        static_cast<signed char>(*BytesOf(table, row, unit, input));
    return static_cast<float>(quant) * scale;
  }
  const int byte = *BytesOf(table, row, unit, input % 16);
  const int quant = (input < 16 ? byte & 15 : byte >> 4) - 8;
  return static_cast<float>(quant) * scale;
}

// Limits: 64 registers, 0 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads) EmbedKernel(EmbedArguments a) {
  const int64_t i = blockIdx.x;
  int32_t id = a.ids[i];
  if (id < 0 && a.slots != nullptr) id = a.slots[-1 - id].id;
  const int64_t row = id - a.first_id;
  const bool held = row >= 0 && row < a.table.rows;
  float* out = a.out + i * a.table.cols;
  for (int64_t col = threadIdx.x; col < a.table.cols; col += kThreads) {
    float value = 0;
    if (held) {
      value = IsQuantized(a.table.format) ? QuantizedElement(a.table, row, col)
                                          : PlainElement(a.table, row, col);
    }
    out[col] = value;
  }
}

}  // namespace

cudaError_t Embed(const EmbedArguments& a, cudaStream_t stream) {
  constexpr int64_t kMaxIds = 0x7fffffff;  // of a grid
  if (a.num_ids < 0 || a.num_ids > kMaxIds) return cudaErrorInvalidValue;
  if (a.num_ids == 0) return cudaSuccess;
  return Launch(EmbedKernel,
                {dim3(static_cast<unsigned>(a.num_ids)), dim3(kThreads)},
                stream, a);
}

}  // namespace caravan::worker::cuda
