// What a product asks for of its weights before it waits for the kernel that
// makes its inputs: memory would stand still in that time. Weights are complete
// before any step is enqueued (Backend::Reserve waits for them).
#ifndef CARAVAN_WORKER_BACKEND_CUDA_WEIGHT_PREFETCH_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_WEIGHT_PREFETCH_CUH_

#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// 16 bytes each, of each row; 4 KiB for a warp. All blocks that H200 keeps
// resident ask for 8.6 MB, what it reads in 1.8 us: not measured.
constexpr int kPrefetchPieces = 8;

// For units [begin, end) of a row, those of them that come first. The lanes of
// a warp are 32 rows.
__device__ __forceinline__ void PrefetchWeight(const WeightView& weight,
                                               int64_t row, int64_t begin,
                                               int64_t end) {
  if (begin >= end) return;
  const int unit_pieces = UnitPieces(weight.format);
  const auto* const values = static_cast<const unsigned char*>(weight.values);
  // Of a row-major weight the pieces are neighbours, which come in one line.
  const int64_t count = weight.row_major ? 1
                                         : min(int64_t{kPrefetchPieces},
                                               (end - begin) * unit_pieces);
  for (int64_t i = 0; i < count; ++i) {
    PrefetchToL2(values +
                 weight.PieceAt(row, begin * unit_pieces + i) * kUnitBytes);
  }
  if (!IsQuantized(weight.format)) return;
  // Of as many units the scales: 32 rows' in a row.
  const int64_t unit =
      begin +
      min(static_cast<int64_t>(threadIdx.x % kPrefetchPieces), end - begin - 1);
  PrefetchToL2(static_cast<const unsigned char*>(weight.scales) +
               ((row / kTileRows * weight.num_units() + unit) * kTileRows +
                row % kTileRows) *
                   ScaleBytes(weight.format));
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_WEIGHT_PREFETCH_CUH_
