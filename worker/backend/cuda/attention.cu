#include "worker/backend/cuda/attention.h"
#include "worker/backend/cuda/device.cuh"

namespace caravan::worker::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kWarpQueries = kTileQueries / kWarps;
constexpr int kStepPositions = 32;  // a position per lane
constexpr int kLaneElements = 4;    // of a value, per chunk of 128
constexpr int kChunkElements = 32 * kLaneElements;

// What one warp's queries have seen so far.
template <int kChunks>
struct Running {
  float largest[kWarpQueries];
  float sum[kWarpQueries];  // of this lane's positions
  float4 gathered[kWarpQueries][kChunks];
};

// A block's share: a tile, a group of heads, a part of the context.
struct Share {
  QueryTile tile;
  HeadGroup group;
  int begin;  // the first position of the part

  __device__ int num_queries() const { return tile.num_rows * group.count; }
  __device__ int Row(int query) const { return query / group.count; }
  // Positions of the part that a query sees.
  __device__ int NumKeys(int query) const {
    if (query >= num_queries()) return 0;
    const int keys = tile.first_position + Row(query) + 1 - begin;
    return min(max(keys, 0), kSplitPositions);
  }
};

__device__ __forceinline__ float Dot4(float4 a, float4 b, float sum) {
  sum = __fmaf_rn(a.x, b.x, sum);
  sum = __fmaf_rn(a.y, b.y, sum);
  sum = __fmaf_rn(a.z, b.z, sum);
  return __fmaf_rn(a.w, b.w, sum);
}
__device__ __forceinline__ float4 Times(float4 a, float factor) {
  return make_float4(a.x * factor, a.y * factor, a.z * factor, a.w * factor);
}
__device__ __forceinline__ float4 AddTimes(float4 sum, float4 a, float factor) {
  return make_float4(
      __fmaf_rn(factor, a.x, sum.x), __fmaf_rn(factor, a.y, sum.y),
      __fmaf_rn(factor, a.z, sum.z), __fmaf_rn(factor, a.w, sum.w));
}

// Elements of a unit of a key, or four of a value, as float32.
template <int kCount>
struct Floats {
  float4 part[kCount / 4];
};
__device__ __forceinline__ float4 Join(float2 first, float2 second) {
  return make_float4(first.x, first.y, second.x, second.y);
}
template <typename T>
__device__ __forceinline__ float4 Widen(uint2 bits) {
  return Join(ToFloat2(PairFromBits<T>(bits.x)),
              ToFloat2(PairFromBits<T>(bits.y)));
}
template <typename T>
__device__ __forceinline__ Floats<kKvUnitBytes / sizeof(T)> LoadUnit(
    const T* unit) {
  if constexpr (std::is_same_v<T, float>) {
    return {{__ldg(reinterpret_cast<const float4*>(unit))}};
  } else {
    const uint4 bits = __ldg(reinterpret_cast<const uint4*>(unit));
    return {{Widen<T>(make_uint2(bits.x, bits.y)),
             Widen<T>(make_uint2(bits.z, bits.w))}};
  }
}
template <typename T>
__device__ __forceinline__ float4 LoadFour(const T* values) {
  if constexpr (std::is_same_v<T, float>) {
    return __ldg(reinterpret_cast<const float4*>(values));
  } else {
    return Widen<T>(__ldg(reinterpret_cast<const uint2*>(values)));
  }
}

__device__ __forceinline__ int64_t BlockOf(const AttentionArguments& a,
                                           const Share& share, int position) {
  return __ldg(a.blocks + share.tile.first_block + position / kBlockPositions);
}

// Scores of this lane's position with the warp's queries.
template <typename T, int kChunks>
__device__ __forceinline__ void Score(const AttentionArguments& a,
                                      const Share& share, int position,
                                      const float* queries,
                                      float (&scores)[kWarpQueries]) {
  constexpr int kUnit = kKvUnitBytes / sizeof(T);
  // With the other number one of the architectures spills some bytes. (Host
  // compilers see no use of it.)
  [[maybe_unused]] constexpr int kUnrolled = kUnit == 4 && kChunks == 2 ? 4 : 2;
  const int padded = a.cache.padded();
  const T* keys =
      a.cache.Keys<T>(BlockOf(a, share, position), share.group.kv_head) +
      position % kBlockPositions * kUnit;
#pragma unroll kUnrolled
  for (int unit = 0; unit < padded / kUnit; ++unit) {
    const auto key = LoadUnit(keys + unit * kBlockPositions * kUnit);
#pragma unroll
    for (int i = 0; i < kWarpQueries; ++i) {
      const float4* query =
          reinterpret_cast<const float4*>(queries + i * padded + unit * kUnit);
#pragma unroll
      for (int part = 0; part < kUnit / 4; ++part) {
        scores[i] = Dot4(query[part], key.part[part], scores[i]);
      }
    }
  }
}

// Scores of a step become exp(score - largest); what was gathered before is
// brought to the same largest score.
template <int kChunks>
__device__ __forceinline__ void Weigh(const float (&scores)[kWarpQueries],
                                      const int (&num_keys)[kWarpQueries],
                                      float scale, float* weights,
                                      Running<kChunks>* running) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < kWarpQueries; ++i) {
    if (num_keys[i] <= 0) continue;  // the same for all lanes
    const bool seen = lane < num_keys[i];
    const float score = scores[i] * scale;
    const float largest =
        fmaxf(running->largest[i], WarpMax(seen ? score : -INFINITY));
    const float rescale = largest == running->largest[i]
                              ? 1.0f
                              : expf(running->largest[i] - largest);
    const float weight = seen ? expf(score - largest) : 0.0f;
    running->largest[i] = largest;
    running->sum[i] = running->sum[i] * rescale + weight;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      running->gathered[i][chunk] = Times(running->gathered[i][chunk], rescale);
    }
    weights[i * kStepPositions + lane] = weight;
  }
}

// Adds the values of a step's positions, one after another.
template <typename T, int kChunks>
__device__ __forceinline__ void Gather(const AttentionArguments& a,
                                       const Share& share, int first,
                                       const int (&num_keys)[kWarpQueries],
                                       int most_keys, const float* weights,
                                       Running<kChunks>* running) {
  const int padded = a.cache.padded();
  const int element = threadIdx.x % 32 * kLaneElements;
  for (int begin = 0; begin < most_keys; begin += kBlockPositions) {
    const T* values =
        a.cache.Keys<T>(BlockOf(a, share, first + begin), share.group.kv_head) +
        a.cache.values_offset() + element;
    const int end = min(begin + kBlockPositions, most_keys);
    for (int j = begin; j < end; ++j) {
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        if (element + chunk * kChunkElements >= padded) continue;
        const float4 value =
            LoadFour(values + (j - begin) * padded + chunk * kChunkElements);
#pragma unroll
        for (int i = 0; i < kWarpQueries; ++i) {
          // What it does not see must not meet it, not even with weight 0.
          if (j >= num_keys[i]) continue;
          running->gathered[i][chunk] =
              AddTimes(running->gathered[i][chunk], value,
                       weights[i * kStepPositions + j]);
        }
      }
    }
  }
}

// Of query `query`, the result or this part of it.
template <int kChunks>
__device__ __forceinline__ void Finish(const AttentionArguments& a,
                                       const Share& share, int query,
                                       float largest, float sum,
                                       const float4 (&gathered)[kChunks]) {
  const int sums = SumFloats(a);
  const int lane = threadIdx.x % 32;
  const int row = share.Row(query);
  const int head = a.heads[share.group.first + query % share.group.count];
  const bool whole = share.tile.first_position + row < kSplitPositions;
  const int64_t partial =
      (static_cast<int64_t>(blockIdx.y * a.rows_per_tile + row) * a.num_splits +
       blockIdx.z) *
          a.num_heads +
      head;
  if (!whole && lane == 0) {
    a.partial_stats[partial] = make_float2(largest, sum);
  }
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const int element = lane * kLaneElements + chunk * kChunkElements;
    if (element >= sums) continue;
    if (!whole) {
      *reinterpret_cast<float4*>(a.partial_sums + partial * sums + element) =
          gathered[chunk];
      continue;
    }
    const float4 g = gathered[chunk];
    const float values[kLaneElements] = {g.x / sum, g.y / sum, g.z / sum,
                                         g.w / sum};
    float* out = a.out + (static_cast<int64_t>(share.tile.first_row + row) *
                              a.num_heads +
                          head) *
                             a.cache.head_dim;
    for (int i = 0; i < kLaneElements; ++i) {
      if (element + i < a.cache.head_dim) out[element + i] = values[i];
    }
  }
}

__device__ void LoadQueries(const AttentionArguments& a, const Share& share,
                            float* queries) {
  const int padded = a.cache.padded();
  for (int i = threadIdx.x; i < kTileQueries * padded; i += kThreads) {
    const int query = i / padded;
    const int d = i % padded;
    float value = 0;
    if (query < share.num_queries() && d < a.cache.head_dim) {
      const int head = a.heads[share.group.first + query % share.group.count];
      value = a.queries[(static_cast<int64_t>(share.tile.first_row +
                                              share.Row(query)) *
                             a.num_heads +
                         head) *
                            a.cache.head_dim +
                        d];
    }
    queries[i] = value;
  }
}

// One part of the context for the queries of one tile and group. Shared memory
// holds 16 queries, and 32 weights of each. (128 registers on 12.0, at most 103
// on 8.0 and 9.0.)
// Limits: 128 registers, 18 KiB of static shared memory.
template <typename T, int kChunks>
__global__ void __launch_bounds__(kThreads) AttendKernel(AttentionArguments a) {
  CARAVAN_SHARED(float4, shared_queries,
                 [kTileQueries * kChunks * kChunkElements / 4]);
  CARAVAN_SHARED(float, shared_weights, [kTileQueries * kStepPositions]);
  LetNextKernelStart();
  WaitForPreviousKernel();
  const Share share = {a.tiles[blockIdx.y], a.groups[blockIdx.x],
                       static_cast<int>(blockIdx.z) * kSplitPositions};
  if (share.begin >= share.tile.first_position + share.tile.num_rows) return;
  float* const queries = reinterpret_cast<float*>(shared_queries);
  LoadQueries(a, share, queries);
  __syncthreads();
  const int first_query = threadIdx.x / 32 * kWarpQueries;
  float* const weights = shared_weights + first_query * kStepPositions;
  Running<kChunks> running;
  int most_keys = 0;
#pragma unroll
  for (int i = 0; i < kWarpQueries; ++i) {
    most_keys = max(most_keys, share.NumKeys(first_query + i));
    running.largest[i] = -INFINITY;
    running.sum[i] = 0;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      running.gathered[i][chunk] = make_float4(0, 0, 0, 0);
    }
  }
  for (int step = 0; step < most_keys; step += kStepPositions) {
    int num_keys[kWarpQueries];
#pragma unroll
    for (int i = 0; i < kWarpQueries; ++i) {
      num_keys[i] = min(share.NumKeys(first_query + i) - step, kStepPositions);
    }
    const int position = step + static_cast<int>(threadIdx.x % 32);
    float scores[kWarpQueries] = {};
    if (position < most_keys) {
      Score<T, kChunks>(a, share, share.begin + position,
                        queries + first_query * a.cache.padded(), scores);
    }
    Weigh<kChunks>(scores, num_keys, a.scale, weights, &running);
    __syncwarp();
    Gather<T, kChunks>(a, share, share.begin + step, num_keys,
                       min(most_keys - step, kStepPositions), weights,
                       &running);
    __syncwarp();
  }
#pragma unroll
  for (int i = 0; i < kWarpQueries; ++i) {
    if (share.NumKeys(first_query + i) <= 0) continue;
    Finish<kChunks>(a, share, first_query + i, running.largest[i],
                    WarpSum(running.sum[i]), running.gathered[i]);
  }
}

// A warp per row and head adds up the parts, in their order.
// Limits: 64 registers, 0 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads)
    CombineKernel(AttentionArguments a) {
  LetNextKernelStart();
  WaitForPreviousKernel();
  const QueryTile tile = a.tiles[blockIdx.x / a.rows_per_tile];
  const int row = static_cast<int>(blockIdx.x) % a.rows_per_tile;
  const int head = static_cast<int>(blockIdx.y * kWarps + threadIdx.x / 32);
  if (row >= tile.num_rows || head >= a.num_heads) return;
  const int num_splits = (tile.first_position + row) / kSplitPositions + 1;
  if (num_splits == 1) return;
  const int64_t first =
      static_cast<int64_t>(blockIdx.x) * a.num_splits * a.num_heads + head;
  float largest = -INFINITY;
  for (int i = 0; i < num_splits; ++i) {
    largest = fmaxf(largest, a.partial_stats[first + i * a.num_heads].x);
  }
  const int sums = SumFloats(a);
  float* out =
      a.out +
      (static_cast<int64_t>(tile.first_row + row) * a.num_heads + head) *
          a.cache.head_dim;
  for (int d = threadIdx.x % 32; d < a.cache.head_dim; d += 32) {
    float sum = 0;
    float gathered = 0;
    for (int i = 0; i < num_splits; ++i) {
      const int64_t partial = first + i * a.num_heads;
      const float2 stats = a.partial_stats[partial];
      const float weight = expf(stats.x - largest);
      sum = __fmaf_rn(stats.y, weight, sum);
      gathered =
          __fmaf_rn(a.partial_sums[partial * sums + d], weight, gathered);
    }
    out[d] = gathered / sum;
  }
}

using Kernel = void (*)(AttentionArguments);

template <typename T>
Kernel KernelOf(const KvLayerView& cache) {
  return cache.padded() <= kChunkElements ? AttendKernel<T, 1>
                                          : AttendKernel<T, 2>;
}

Kernel KernelOf(const KvLayerView& cache) {
  switch (cache.format) {
    case KvFormat::kFloat32:
      return KernelOf<float>(cache);
    case KvFormat::kHalf:
      return KernelOf<__half>(cache);
    case KvFormat::kBFloat16:
      return KernelOf<__nv_bfloat16>(cache);
  }
  return nullptr;
}

}  // namespace

cudaError_t Attend(const AttentionArguments& a, cudaStream_t stream) {
  constexpr int kMaxGrid = 65535;
  if (a.cache.head_dim < 2 || a.cache.head_dim > kMaxHeadDim ||
      a.num_tiles < 0 || a.num_tiles > kMaxGrid || a.num_splits < 1 ||
      a.num_splits > kMaxGrid || a.rows_per_tile < 1 ||
      a.rows_per_tile > kTileQueries || a.num_groups < 1) {
    return cudaErrorInvalidValue;
  }
  if (a.num_tiles == 0) return cudaSuccess;
  const dim3 grid(a.num_groups, a.num_tiles, a.num_splits);
  const cudaError_t error =
      Launch(KernelOf(a.cache),
             {.grid = grid, .block = dim3(kThreads), .overlap_previous = true},
             stream, a);
  if (error != cudaSuccess || a.num_splits == 1) return error;
  return Launch(
      CombineKernel,
      {.grid = dim3(static_cast<unsigned>(a.num_tiles * a.rows_per_tile),
                    static_cast<unsigned>((a.num_heads + kWarps - 1) / kWarps)),
       .block = dim3(kThreads),
       .overlap_previous = true},
      stream, a);
}

}  // namespace caravan::worker::cuda
