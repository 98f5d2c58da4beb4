// The kernel of product.h without tensor cores: for few rows of x, and for
// float32. What it reads of a format is the template's parameter.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_KERNEL_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_KERNEL_CUH_

#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/product_output.cuh"
#include "worker/backend/cuda/weight_prefetch.cuh"

namespace caravan::worker::cuda {

constexpr int kProductThreads = 32 * kInputParts;
// At least, on a multiprocessor: so many threads may have 128 registers.
constexpr int kProductBlocks = 2;

// A format has: Unit, what is loaded of one row's unit; kUnitsAtOnce, how many
// loads are under way for each output; Load; Inputs, a unit's inputs of one row
// of x; GroupOf, the first of kRows rows of x; Read; Accumulate, which adds a
// unit's product with a row of x to a sum.

// Registers hold what is under way beside the sums: the more rows there are,
// the more work hides the wait.
template <typename Format>
__host__ __device__ constexpr int UnitsAtOnce(int num_rows, int num_parts) {
  const int shares = num_parts * (num_rows >= 8 ? 8 : num_rows >= 4 ? 2 : 1);
  const int units = Format::kUnitsAtOnce / shares;
  return units > 0 ? units : 1;
}

// Sums of a warp: lane = output, the weight's rows `output[part]`, over units
// [begin, end).
template <typename Format, int kRows, int kParts>
__device__ __forceinline__ void SumUnits(const WeightView& weight,
                                         const int64_t (&output)[kParts],
                                         const typename Format::Group& x,
                                         int64_t begin, int64_t end,
                                         float (&sum)[kParts][kRows]) {
  constexpr int kAtOnce = UnitsAtOnce<Format>(kRows, kParts);
  int64_t unit = begin;
#pragma unroll 1
  for (; unit + kAtOnce <= end; unit += kAtOnce) {
    typename Format::Unit loaded[kParts][kAtOnce];
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        loaded[part][i] = Format::Load(weight, output[part], unit + i);
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const typename Format::Inputs inputs =
            Format::template Read<kRows>(x, unit + i, r);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          sum[part][r] =
              Format::Accumulate(loaded[part][i], inputs, sum[part][r]);
        }
      }
    }
  }
#pragma unroll 1
  for (; unit < end; ++unit) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const typename Format::Unit loaded =
          Format::Load(weight, output[part], unit);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        sum[part][r] = Format::Accumulate(
            loaded, Format::template Read<kRows>(x, unit, r), sum[part][r]);
      }
    }
  }
}

// A block makes 32 outputs of kRows rows: lanes are outputs, warps are the
// parts of the inputs. Blocks that read the same weights are neighbours.
// Limits: 128 registers, 16 KiB of static shared memory.
template <typename Format, int kRows, bool kPaired>
__global__ void __launch_bounds__(kProductThreads, kProductBlocks)
    ProductKernel(ProductArguments a) {
  constexpr int kParts = kPaired ? 2 : 1;
  CARAVAN_SHARED(float, sums, [kInputParts][kParts][kRows][kTileRows]);
  const int lane = threadIdx.x % 32;
  const int input_part = threadIdx.x / 32;
  const int64_t num_outputs = a.NumOutputs();
  const int64_t first_output = static_cast<int64_t>(blockIdx.y) * kTileRows;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kRows;
  // Where there are fewer, the last counts several times and is written once.
  const int64_t output = min(first_output + lane, num_outputs - 1);
  int64_t outputs[kParts];
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    outputs[part] = kPaired ? a.PairRow(output, part) : output;
  }
  const int64_t units = a.weight.num_units();
  const int64_t begin = PartBegin(units, input_part);
  const int64_t end = PartBegin(units, input_part + 1);
  LetNextKernelStart();
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    PrefetchWeight(a.weight, outputs[part], begin, end);
  }
  WaitForPreviousKernel();
  const typename Format::Group x = Format::GroupOf(a.x, first_row, units);
  float sum[kParts][kRows] = {};
  SumUnits<Format, kRows, kParts>(a.weight, outputs, x, begin, end, sum);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      sums[input_part][part][r][lane] = sum[part][r];
  }
  __syncthreads();
  for (int r = input_part; r < kRows; r += kInputParts) {
    float total[kParts];
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      total[part] = sums[0][part][r][lane];
      for (int i = 1; i < kInputParts; ++i) {
        total[part] += sums[i][part][r][lane];
      }
    }
    if (first_output + lane >= num_outputs || first_row + r >= a.num_rows) {
      continue;
    }
    if constexpr (kPaired) {
      WritePair(a, first_row + r, output, total[0], total[1]);
    } else {
      WriteProduct(a, first_row + r, output, total[0]);
    }
  }
}

template <typename Format, int kRows>
cudaError_t LaunchProductOf(const ProductArguments& a, cudaStream_t stream) {
  const dim3 grid(
      static_cast<unsigned>((a.num_rows + kRows - 1) / kRows),
      static_cast<unsigned>((a.NumOutputs() + kTileRows - 1) / kTileRows));
  return Launch(
      a.pair_distance > 0 ? ProductKernel<Format, kRows, true>
                          : ProductKernel<Format, kRows, false>,
      {.grid = grid, .block = dim3(kProductThreads), .overlap_previous = true},
      stream, a);
}

// With as many rows at once as the groups of x have: 1, 4, kLargestGroup.
template <typename Format, int kLargestGroup>
cudaError_t LaunchProduct(const ProductArguments& a, cudaStream_t stream) {
  switch (a.x.group) {
    case 1:
      return LaunchProductOf<Format, 1>(a, stream);
    case 4:
      return LaunchProductOf<Format, 4>(a, stream);
    default:
      break;
  }
  if constexpr (kLargestGroup > 4) {
    if (a.x.group == kLargestGroup) {
      return LaunchProductOf<Format, kLargestGroup>(a, stream);
    }
  }
  return cudaErrorInvalidValue;
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PRODUCT_KERNEL_CUH_
