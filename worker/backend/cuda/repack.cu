#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/repack.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kPiecesAtOnce = 8;
constexpr int kThreads = kTileRows * kPiecesAtOnce;
constexpr unsigned kMaxGridY = 65535;

// Stored blocks: scales, with kQ4Minimum a minimum, then values.
__device__ void RepackQuantized(const RepackArguments& a, int64_t row,
                                int64_t unit) {
  const WeightView& to = a.to;
  const int pieces = UnitPieces(to.format);
  const int scale_halves = ScaleBytes(to.format) / 2;
  const int block_halves = scale_halves + pieces * kUnitBytes / 2;
  const uint16_t* block = reinterpret_cast<const uint16_t*>(a.stored) +
                          (row * to.num_units() + unit) * block_halves;
  const int64_t out = a.first_row + row;
  const int64_t at = out / kTileRows * to.num_units() + unit;
  const int lane = static_cast<int>(out % kTileRows);
  uint16_t* scales = static_cast<uint16_t*>(to.scales) +
                     (at * kTileRows + lane) * scale_halves;
  for (int i = 0; i < scale_halves; ++i) scales[i] = block[i];
  for (int piece = 0; piece < pieces; ++piece) {
    uint32_t words[4];
    const uint16_t* from = block + scale_halves + piece * kUnitBytes / 2;
    for (int i = 0; i < 4; ++i) {
      words[i] = from[2 * i] | uint32_t{from[2 * i + 1]} << 16;
    }
    static_cast<uint4*>(to.values)[to.PieceAt(out, unit * pieces + piece)] =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
}

__device__ void RepackPlain(const RepackArguments& a, int64_t row,
                            int64_t unit) {
  const WeightView& to = a.to;
  const int halves_of = to.format == HeldFormat::kFloat32 ? 2 : 1;
  const int64_t row_halves = to.cols * halves_of;
  const uint16_t* from =
      reinterpret_cast<const uint16_t*>(a.stored) + row * row_halves;
  uint32_t words[4];
  for (int i = 0; i < 4; ++i) {
    const int64_t low = unit * 8 + 2 * i;
    words[i] = low < row_halves ? from[low] : 0;
    if (low + 1 < row_halves) words[i] |= uint32_t{from[low + 1]} << 16;
  }
  static_cast<uint4*>(to.values)[to.PieceAt(a.first_row + row, unit)] =
      make_uint4(words[0], words[1], words[2], words[3]);
}

// A warp writes a unit of 32 rows that follow one another, side by side but
// where the weight is row-major.
// Limits: 64 registers, 0 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads) RepackKernel(RepackArguments a) {
  const int64_t row =
      static_cast<int64_t>(blockIdx.x) * kTileRows + threadIdx.x % kTileRows;
  if (row >= a.num_rows) return;
  for (int64_t unit = static_cast<int64_t>(blockIdx.y) * kPiecesAtOnce +
                      threadIdx.x / kTileRows;
       unit < a.to.num_units();
       unit += static_cast<int64_t>(gridDim.y) * kPiecesAtOnce) {
    if (IsQuantized(a.to.format)) {
      RepackQuantized(a, row, unit);
    } else {
      RepackPlain(a, row, unit);
    }
  }
}

}  // namespace

cudaError_t Repack(const RepackArguments& a, cudaStream_t stream) {
  if (a.first_row < 0 || a.num_rows < 0 ||
      a.first_row + a.num_rows > a.to.rows || a.to.cols < 1) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  const int64_t steps = (a.to.num_units() + kPiecesAtOnce - 1) / kPiecesAtOnce;
  const dim3 grid(
      static_cast<unsigned>((a.num_rows + kTileRows - 1) / kTileRows),
      static_cast<unsigned>(steps < kMaxGridY ? steps : kMaxGridY));
  return Launch(RepackKernel, {grid, dim3(kThreads)}, stream, a);
}

}  // namespace caravan::worker::cuda
