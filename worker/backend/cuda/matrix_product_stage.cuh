// How the kernel of matrix_product_kernel.cuh brings weights and rows of x into
// shared memory: what lies where, and which thread copies what.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_MATRIX_PRODUCT_STAGE_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_MATRIX_PRODUCT_STAGE_CUH_

#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product.h"

namespace caravan::worker::cuda {

// A warp multiplies 32 rows of the weight, in two segments of 16, which are the
// rows of A of tensor cores. Segments are neighbours, or, where outputs are
// made of pairs of rows, the first and the second ones of the same pairs.
constexpr int kSegmentRows = 16;
constexpr int kSegments = kTileRows / kSegmentRows;

// Which part of the product a block makes.
template <typename Shape, bool kPaired>
struct BlockPlace {
  static constexpr int kOutputs =
      Shape::kOutputWarps * (kPaired ? kSegmentRows : kTileRows);
  int64_t num_outputs;
  int64_t first_output;
  int64_t first_row;    // of x
  int64_t stored_rows;  // of the weight, with those that fill up its last tile

  __device__ explicit BlockPlace(const ProductArguments& a)
      : num_outputs(a.NumOutputs()),
        first_output(static_cast<int64_t>(blockIdx.y) * kOutputs),
        first_row(static_cast<int64_t>(blockIdx.x) * Shape::kRows),
        stored_rows((a.weight.rows + kTileRows - 1) / kTileRows * kTileRows) {}

  // The first output of a segment, and the weight's row that makes it.
  __device__ int64_t Output(int warp, int segment) const {
    if (kPaired) return first_output + warp * kSegmentRows;
    return first_output + warp * kTileRows + segment * kSegmentRows;
  }
  __device__ int64_t WeightRow(const ProductArguments& a, int warp,
                               int segment) const {
    const int64_t output = Output(warp, segment);
    return kPaired ? a.PairRow(output, segment) : output;
  }
  // The row that a lane stands for in the first warp's segments; the weight's
  // last one for those beyond it.
  __device__ int64_t LaneRow(const ProductArguments& a) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return min(WeightRow(a, 0, lane / kSegmentRows) + lane % kSegmentRows,
               stored_rows - 1);
  }
};

template <typename Format>
__device__ __forceinline__ int NumSteps(const WeightView& weight) {
  return static_cast<int>((weight.num_units() + Format::kUnitsOfStep - 1) /
                          Format::kUnitsOfStep);
}

// A step's bytes, one kind after the other, each as it lies in global memory:
//   values        [output warp][piece][32 rows][16 bytes]
//   scales        [output warp][segment][words]
//   inputs        [group of 8 rows of x][piece][8 rows][16 bytes]
//   input scales  [group][8 rows] (scale, sum)
// Eight rows' 16 bytes are one matrix of ldmatrix: no bank is asked twice.
template <typename Format, typename Shape>
struct StepLayout {
  static constexpr int kValueItems =
      Shape::kOutputWarps * Format::kPieces * kTileRows;
  static constexpr int kScaleItems =
      Shape::kOutputWarps * kSegments * Format::kSegmentWords;
  static constexpr int kGroups = Shape::kRows / kMatrixGroup;
  static constexpr int kInputItems =
      kGroups * Format::kInputPieces * kMatrixGroup;
  static constexpr int kInputScaleItems =
      Format::kHasInputScales ? kGroups * kMatrixGroup / 2 : 0;

  static constexpr int kScales = kValueItems * 16;
  static constexpr int kInputs = kScales + (kScaleItems * 4 + 15) / 16 * 16;
  static constexpr int kInputScales = kInputs + kInputItems * 16;
  static constexpr int kBytes = kInputScales + kInputScaleItems * 16;
};

// What one thread of a team copies of every step.
template <typename Format, typename Shape, bool kPaired>
class Stager {
 public:
  __device__ Stager(const ProductArguments& a,
                    const BlockPlace<Shape, kPaired>& place, int thread)
      : thread_(thread),
        num_units_(static_cast<int>(a.weight.num_units())),
        row_major_(Format::kMayBeRowMajor && a.weight.row_major) {
    const int64_t steps = NumSteps<Format>(a.weight);
#pragma unroll
    for (int n = 0; n < kValueCopies; ++n) values_[n] = ValueAt(a, place, n);
    if constexpr (Layout::kScaleItems > 0) scales_ = ScaleAt(a, place);
#pragma unroll
    for (int n = 0; n < kInputCopies; ++n) {
      const int i = Item(n);
      const int group = i / (Format::kInputPieces * kMatrixGroup);
      const int64_t row = place.first_row + group * kMatrixGroup;
      inputs_[n] =
          Format::Inputs(a.x) +
          (row / kMatrixGroup * steps * kGroupItems + i % kGroupItems) * 16;
      has_input_[n] = row + i % kMatrixGroup < a.num_rows;
    }
    if constexpr (Layout::kInputScaleItems > 0) {
      constexpr int kItems = kMatrixGroup / 2;  // of a group; two rows each
      const int64_t row = place.first_row + thread / kItems * kMatrixGroup;
      input_scales_ = reinterpret_cast<const unsigned char*>(
          a.x.scales + row * steps + thread % kItems * 2);
      has_input_scale_ = row + thread % kItems * 2 < a.num_rows;
    }
  }

  // Starts to copy a step. Rows of x that there are none of become zeros, as do
  // inputs that fill up the last step.
  __device__ __forceinline__ void Copy(unsigned char* to, int step) const {
    const int64_t at = step;
#pragma unroll
    for (int n = 0; n < kValueCopies; ++n) {
      const int i = Item(n);
      if (Layout::kValueItems % kThreads != 0 && i >= Layout::kValueItems) {
        continue;
      }
      const int item = ValueItem(i);
      const int piece = item / kTileRows % Format::kPieces;
      CpAsync16(to + item * 16, values_[n] + at * ValueStride(),
                step * Format::kUnitsOfStep + piece % Format::kUnitsOfStep <
                    num_units_);
    }
    if constexpr (Layout::kScaleItems > 0) {
      constexpr int kScaleStride = kTileRows * Format::kScaleBytes;
      if (thread_ < Layout::kScaleItems) {
        CpAsync4(to + Layout::kScales + thread_ * 4,
                 scales_ + at * kScaleStride);
      }
    }
#pragma unroll
    for (int n = 0; n < kInputCopies; ++n) {
      const int i = Item(n);
      if (Layout::kInputItems % kThreads != 0 && i >= Layout::kInputItems) {
        continue;
      }
      CpAsync16(to + Layout::kInputs + i * 16, inputs_[n] + at * kInputStride,
                has_input_[n]);
    }
    if constexpr (Layout::kInputScaleItems > 0) {
      if (thread_ < Layout::kInputScaleItems) {
        CpAsync16(to + Layout::kInputScales + thread_ * 16,
                  input_scales_ + at * kInputScaleStride, has_input_scale_);
      }
    }
  }

 private:
  using Layout = StepLayout<Format, Shape>;
  static constexpr int kThreads = Shape::kTeamThreads;
  static constexpr int kValueCopies =
      (Layout::kValueItems + kThreads - 1) / kThreads;
  static constexpr int kInputCopies =
      (Layout::kInputItems + kThreads - 1) / kThreads;
  static constexpr int kGroupItems = Format::kInputPieces * kMatrixGroup;
  // Bytes from a step to the next.
  static constexpr int kInputStride = kGroupItems * 16;
  static constexpr int kInputScaleStride = kMatrixGroup * sizeof(float2);
  static_assert(Layout::kScaleItems <= kThreads);
  static_assert(Layout::kInputScaleItems <= kThreads);

  __device__ int Item(int n) const { return thread_ + n * kThreads; }

  // Bytes from a step to the next.
  __device__ __forceinline__ int ValueStride() const {
    constexpr int kRowBytes = Format::kPieces * 16;
    if constexpr (Format::kMayBeRowMajor) {
      if (row_major_) return kRowBytes;
    }
    return kRowBytes * kTileRows;
  }

  // Which item of a step's values is copied as the i-th. Of a row-major weight
  // neighbours copy the pieces of a row, which are neighbours in memory.
  __device__ __forceinline__ int ValueItem(int i) const {
    if constexpr (Format::kMayBeRowMajor) {
      constexpr int kItems = Format::kPieces * kTileRows;  // of a warp
      if (row_major_) {
        return i / kItems * kItems + i % Format::kPieces * kTileRows +
               i % kItems / Format::kPieces;
      }
    }
    return i;
  }

  // Segments may begin at any row of the weight and run past its last one,
  // where there is none to be written: the last row stands for those.
  __device__ const unsigned char* ValueAt(
      const ProductArguments& a, const BlockPlace<Shape, kPaired>& place,
      int n) const {
    const int i = ValueItem(Item(n) % Layout::kValueItems);
    const int warp = i / (Format::kPieces * kTileRows);
    const int row_of_warp = i % kTileRows;
    const int64_t row =
        min(place.WeightRow(a, warp, row_of_warp / kSegmentRows) +
                row_of_warp % kSegmentRows,
            place.stored_rows - 1);
    const int piece = i / kTileRows % Format::kPieces;
    const auto* values = static_cast<const unsigned char*>(a.weight.values);
    if constexpr (Format::kMayBeRowMajor) {
      return values + a.weight.PieceAt(row, piece) * 16;
    } else {
      constexpr int kUnitBytesOfTile =
          Format::kPieces / Format::kUnitsOfStep * kTileRows * 16;
      const int64_t tile_bytes = a.weight.num_units() * kUnitBytesOfTile;
      return values + row / kTileRows * tile_bytes +
             (piece * kTileRows + row % kTileRows) * 16;
    }
  }

  // Words of a segment's scales; where scales are half a word the first word
  // may begin with the scale of the row before.
  __device__ const unsigned char* ScaleAt(
      const ProductArguments& a,
      const BlockPlace<Shape, kPaired>& place) const {
    constexpr int kRowsOfWord = 4 / Format::kScaleBytes;
    const int i = thread_ % Layout::kScaleItems;
    const int warp = i / (kSegments * Format::kSegmentWords);
    const int segment = i / Format::kSegmentWords % kSegments;
    const int64_t first = place.WeightRow(a, warp, segment);
    const int64_t row = min(
        first - first % kRowsOfWord + i % Format::kSegmentWords * kRowsOfWord,
        place.stored_rows - kRowsOfWord);
    return static_cast<const unsigned char*>(a.weight.scales) +
           (row / kTileRows * a.weight.num_units() * kTileRows +
            row % kTileRows) *
               Format::kScaleBytes;
  }

  const int thread_;
  const int num_units_;
  const bool row_major_;
  const unsigned char* values_[kValueCopies];
  const unsigned char* scales_ = nullptr;
  const unsigned char* inputs_[kInputCopies];
  const unsigned char* input_scales_ = nullptr;
  bool has_input_[kInputCopies];
  bool has_input_scale_ = false;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_MATRIX_PRODUCT_STAGE_CUH_
