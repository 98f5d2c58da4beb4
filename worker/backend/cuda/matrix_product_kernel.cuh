// The kernel of product.h on tensor cores, for all formats that they compute:
// what it knows of a format is the template's parameter.
//
// Weights are A, rows of x are B: an output's sum is made by the same
// instructions in the same order whatever the rows beside it and whichever of
// the shapes below computes it. Inputs pass through shared memory in steps,
// copied several steps ahead of the multiplication.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_MATRIX_PRODUCT_KERNEL_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_MATRIX_PRODUCT_KERNEL_CUH_

#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/matrix_product_stage.cuh"
#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/product_output.cuh"
#include "worker/backend/cuda/weight_prefetch.cuh"

namespace caravan::worker::cuda {

// A format has: kMayBeRowMajor, of the weight; kUnitsOfStep, of the weight;
// kPieces and kInputPieces, 16-byte pieces of a step of a row of the weight and
// of x; kScaleBytes of a row and step; kSegmentWords, of 16 rows' scales
// wherever they begin; kHasInputScales; Inputs, where x is; ReadWeights, a
// step's fragments and scales; Multiply, which adds a step's products to sums;
// Finish, what is done with a sum.

// How the warps of a block share its work. A warp makes 32 outputs (of pairs:
// 16) of kRowTiles times 8 rows. Warps of a team share what is copied, and go
// through the same inputs: all of them, or each team one part.
//
// For few rows, as in decoding: reading the weight is what takes the time, so
// every warp reads its own part of it, and there are blocks for every
// multiprocessor.
template <int kTiles>
struct FewRows {
  static constexpr int kOutputWarps = 1;
  static constexpr int kRowWarps = 1;
  static constexpr int kRowTiles = kTiles;
  static constexpr int kTeams = kInputParts;
  static constexpr bool kMayRotate = true;
  static constexpr int kStepsAtOnce = 1;
  static constexpr int kStages = 3;

  static constexpr int kTeamThreads = 32 * kOutputWarps * kRowWarps;
  static constexpr int kThreads = kTeamThreads * kTeams;
  static constexpr int kRows = kRowWarps * kRowTiles * kMatrixGroup;
};
// For prompts: a block's weights serve 64 rows, its rows 128 outputs.
struct ManyRows {
  static constexpr int kOutputWarps = 4;
  static constexpr int kRowWarps = 2;
  static constexpr int kRowTiles = 4;
  static constexpr int kTeams = 1;
  static constexpr bool kMayRotate = false;  // it would spill registers
  static constexpr int kStepsAtOnce = 2;
  static constexpr int kStages = 3;

  static constexpr int kTeamThreads = 32 * kOutputWarps * kRowWarps;
  static constexpr int kThreads = kTeamThreads * kTeams;
  static constexpr int kRows = kRowWarps * kRowTiles * kMatrixGroup;
};
// On a multiprocessor, at least, that has 64 Ki registers and 100 KiB of shared
// memory, as those of all cards since compute capability 8.0 have.
constexpr int kMatrixBlocks = 2;

// Fragment A of a segment from two pieces of 32 rows, the first and the second
// half of the inputs of an mma.
__device__ __forceinline__ void ReadTwoPieces(const unsigned char* pieces,
                                              int segment, uint32_t (&a)[4]) {
  const int lane = threadIdx.x % 32;
  const int row = lane / kSegmentRows * kTileRows + segment * kSegmentRows +
                  lane % kSegmentRows;
  LdMatrixX4(a, pieces + row * 16);
}

// A warp's sums: those of segment s and row tile n are d of device.cuh.
template <typename Shape>
using MatrixSums = float[kSegments][Shape::kRowTiles][4];

template <typename Shape>
__device__ __forceinline__ void TeamSync() {
  if constexpr (Shape::kTeamThreads == 32) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

// What a warp reads of the steps in shared memory.
template <typename Format, typename Shape>
struct WarpView {
  int output_warp;
  int row_warp;
  int odd_row[kSegments];  // 1 where scales begin in the middle of a word

  __device__ __forceinline__ void Multiply(const unsigned char* step,
                                           MatrixSums<Shape>& sums) const {
    using Layout = StepLayout<Format, Shape>;
    constexpr int kGroupBytes = Format::kInputPieces * kMatrixGroup * 16;
    constexpr int kWarpRows = Shape::kRowTiles * kMatrixGroup;
    const unsigned char* scales =
        step + Layout::kScales +
        output_warp * kSegments * Format::kSegmentWords * 4;
    const typename Format::Weights weights = Format::ReadWeights(
        step + output_warp * Format::kPieces * kTileRows * 16, scales, odd_row);
    Format::template Multiply<Shape::kRowTiles>(
        weights,
        step + Layout::kInputs + row_warp * Shape::kRowTiles * kGroupBytes,
        step + Layout::kInputScales +
            row_warp * kWarpRows * static_cast<int>(sizeof(float2)),
        sums);
  }
};

// Goes through steps [begin, end): `multiply` is called with each, in order,
// and where it lies. Each stage of `memory` holds kStepsAtOnce.
template <typename Format, typename Shape, typename Stager, typename Multiply>
__device__ __forceinline__ void ForEachStep(unsigned char* memory, int begin,
                                            int end, const Stager& stager,
                                            const Multiply& multiply) {
  constexpr int kStepBytes = StepLayout<Format, Shape>::kBytes;
  constexpr int kStageBytes = Shape::kStepsAtOnce * kStepBytes;
  const auto copy = [&](int first, int stage) {
#pragma unroll
    for (int i = 0; i < Shape::kStepsAtOnce; ++i) {
      if (first + i < end) {
        stager.Copy(memory + stage * kStageBytes + i * kStepBytes, first + i);
      }
    }
    CpAsyncCommit();  // also of nothing, so that groups can be counted
  };
#pragma unroll
  for (int stage = 0; stage < Shape::kStages - 1; ++stage) {
    copy(begin + stage * Shape::kStepsAtOnce, stage);
  }
  int stage = 0;
  int free_stage = Shape::kStages - 1;
#pragma unroll 1
  for (int first = begin; first < end; first += Shape::kStepsAtOnce) {
    CpAsyncWait<Shape::kStages - 2>();
    // The step is there for all, and all have left the one before it.
    TeamSync<Shape>();
    copy(first + (Shape::kStages - 1) * Shape::kStepsAtOnce, free_stage);
#pragma unroll
    for (int i = 0; i < Shape::kStepsAtOnce; ++i) {
      if (first + i < end) {
        multiply(first + i, memory + stage * kStageBytes + i * kStepBytes);
      }
    }
    free_stage = stage;
    stage = stage + 1 == Shape::kStages ? 0 : stage + 1;
  }
}

// The outputs of one register of each segment: row tile n, d's i.
template <typename Format, typename Shape, bool kPaired>
__device__ __forceinline__ void WriteMatrixSums(
    const ProductArguments& a, const BlockPlace<Shape, kPaired>& place,
    const WarpView<Format, Shape>& warp, int n, int i,
    const float (&total)[kSegments]) {
  const int lane = threadIdx.x % 32;
  const int64_t row = place.first_row +
                      (warp.row_warp * Shape::kRowTiles + n) * kMatrixGroup +
                      lane % 4 * 2 + i % 2;
  if (row >= a.num_rows) return;
#pragma unroll
  for (int segment = 0; segment < (kPaired ? 1 : kSegments); ++segment) {
    const int64_t output =
        place.Output(warp.output_warp, segment) + lane / 4 + i / 2 * 8;
    if (output >= place.num_outputs) continue;
    const float value = Format::Finish(a.x, row, total[segment]);
    if constexpr (kPaired) {
      const float second = Format::Finish(a.x, row, total[1]);
      if constexpr (Shape::kMayRotate) {
        WritePair(a, row, output, value, second);
      } else {
        WriteGated(a, row, output, value, second);
      }
    } else {
      WriteProduct(a, row, output, value);
    }
  }
}

// Each team has summed up one part of the inputs: adds them in order.
template <typename Format, typename Shape, bool kPaired>
__device__ __forceinline__ void WriteSumOfTeams(
    const ProductArguments& a, const BlockPlace<Shape, kPaired>& place,
    const WarpView<Format, Shape>& warp, unsigned char* memory,
    const MatrixSums<Shape>& sums) {
  static_assert(Shape::kTeamThreads == 32);
  constexpr int kRegisters = Shape::kRowTiles * 4;  // of a segment
  using Sums = float[Shape::kTeams][kSegments][kRegisters][32];
  static_assert(sizeof(Sums) <= Shape::kTeams * Shape::kStages *
                                    Shape::kStepsAtOnce *
                                    StepLayout<Format, Shape>::kBytes);
  Sums& shared = *reinterpret_cast<Sums*>(memory);
  const int team = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  __syncthreads();  // all have read their last steps
#pragma unroll
  for (int segment = 0; segment < kSegments; ++segment) {
#pragma unroll
    for (int r = 0; r < kRegisters; ++r) {
      shared[team][segment][r][lane] = sums[segment][r / 4][r % 4];
    }
  }
  __syncthreads();
  for (int r = team; r < kRegisters; r += Shape::kTeams) {
    float total[kSegments];
    for (int segment = 0; segment < kSegments; ++segment) {
      total[segment] = shared[0][segment][r][lane];
      for (int i = 1; i < Shape::kTeams; ++i) {
        total[segment] += shared[i][segment][r][lane];
      }
    }
    WriteMatrixSums<Format, Shape, kPaired>(a, place, warp, r / 4, r % 4,
                                            total);
  }
}

// One team goes through all parts of the inputs. Empty parts would add zero,
// which changes no sum.
template <typename Format, typename Shape, bool kPaired>
__device__ __forceinline__ void SumAllParts(
    const ProductArguments& a, const BlockPlace<Shape, kPaired>& place,
    const WarpView<Format, Shape>& warp, unsigned char* memory) {
  static_assert(Shape::kTeams == 1);
  const Stager<Format, Shape, kPaired> stager(a, place,
                                              static_cast<int>(threadIdx.x));
  const int steps = NumSteps<Format>(a.weight);
  MatrixSums<Shape> sums = {};
  MatrixSums<Shape> totals = {};
  int part = 0;
  int part_end = PartBegin(steps, 1);
  ForEachStep<Format, Shape>(
      memory, 0, steps, stager, [&](int step, const unsigned char* staged) {
        while (part_end <= step) part_end = PartBegin(steps, ++part + 1);
        warp.Multiply(staged, sums);
        if (step + 1 < part_end) return;
#pragma unroll
        for (int n = 0; n < Shape::kRowTiles; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            for (int segment = 0; segment < kSegments; ++segment) {
              totals[segment][n][i] += sums[segment][n][i];
              sums[segment][n][i] = 0;
            }
          }
        }
      });
#pragma unroll
  for (int n = 0; n < Shape::kRowTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float total[kSegments] = {totals[0][n][i], totals[1][n][i]};
      WriteMatrixSums<Format, Shape, kPaired>(a, place, warp, n, i, total);
    }
  }
}

// Limits: 128 registers, 48 KiB of static shared memory.
template <typename Format, typename Shape, bool kPaired>
__global__ void __launch_bounds__(Shape::kThreads, kMatrixBlocks)
    MatrixProductKernel(ProductArguments a) {
  constexpr int kTeamBytes =
      Shape::kStages * Shape::kStepsAtOnce * StepLayout<Format, Shape>::kBytes;
  CARAVAN_SHARED(uint4, shared, [Shape::kTeams * kTeamBytes / 16]);
  unsigned char* memory = reinterpret_cast<unsigned char*>(shared);
  const BlockPlace<Shape, kPaired> place(a);
  const int warp_of_team =
      static_cast<int>(threadIdx.x) % Shape::kTeamThreads / 32;
  WarpView<Format, Shape> warp = {warp_of_team % Shape::kOutputWarps,
                                  warp_of_team / Shape::kOutputWarps,
                                  {}};
#pragma unroll
  for (int segment = 0; segment < kSegments; ++segment) {
    warp.odd_row[segment] =
        static_cast<int>(place.WeightRow(a, warp.output_warp, segment) % 2);
  }
  LetNextKernelStart();
  if constexpr (Shape::kTeams == 1) {
    WaitForPreviousKernel();
    SumAllParts<Format, Shape, kPaired>(a, place, warp, memory);
  } else {
    static_assert(Shape::kTeams == kInputParts);
    const int team = static_cast<int>(threadIdx.x) / Shape::kTeamThreads;
    const int steps = NumSteps<Format>(a.weight);
    const int begin = PartBegin(steps, team);
    const int end = PartBegin(steps, team + 1);
    PrefetchWeight(
        a.weight, place.LaneRow(a), int64_t{begin} * Format::kUnitsOfStep,
        min(int64_t{end} * Format::kUnitsOfStep, a.weight.num_units()));
    WaitForPreviousKernel();
    const Stager<Format, Shape, kPaired> stager(
        a, place, static_cast<int>(threadIdx.x) % Shape::kTeamThreads);
    MatrixSums<Shape> sums = {};
    ForEachStep<Format, Shape>(
        memory + team * kTeamBytes, begin, end, stager,
        [&](int, const unsigned char* staged) { warp.Multiply(staged, sums); });
    WriteSumOfTeams<Format, Shape, kPaired>(a, place, warp, memory, sums);
  }
}

template <typename Format, typename Shape, bool kPaired>
cudaError_t LaunchMatrixProductOf(const ProductArguments& a,
                                  cudaStream_t stream) {
  constexpr int kOutputs = BlockPlace<Shape, kPaired>::kOutputs;
  const dim3 grid(
      static_cast<unsigned>((a.num_rows + Shape::kRows - 1) / Shape::kRows),
      static_cast<unsigned>((a.NumOutputs() + kOutputs - 1) / kOutputs));
  return Launch(
      MatrixProductKernel<Format, Shape, kPaired>,
      {.grid = grid, .block = dim3(Shape::kThreads), .overlap_previous = true},
      stream, a);
}

template <typename Format, typename Shape>
cudaError_t LaunchMatrixProductOf(const ProductArguments& a,
                                  cudaStream_t stream) {
  return a.pair_distance > 0
             ? LaunchMatrixProductOf<Format, Shape, true>(a, stream)
             : LaunchMatrixProductOf<Format, Shape, false>(a, stream);
}

// The bits are the same either way.
template <typename Format>
cudaError_t LaunchMatrixProduct(const ProductArguments& a,
                                cudaStream_t stream) {
  if (a.num_rows <= FewRows<1>::kRows) {
    return LaunchMatrixProductOf<Format, FewRows<1>>(a, stream);
  }
  if (a.num_rows < kManyRows) {
    return LaunchMatrixProductOf<Format, FewRows<2>>(a, stream);
  }
  return LaunchMatrixProductOf<Format, ManyRows>(a, stream);
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_MATRIX_PRODUCT_KERNEL_CUH_
