// Dao, FlashAttention-2 (2023): a tile of queries walks over the context with a
// running maximum and sum, scores and weights in registers.
#include "worker/backend/cuda/cached_number.cuh"
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/prompt_attention.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kWarpQueries = 16;  // of an instruction
constexpr int kStepBlocks = 2;    // of the cache
constexpr int kStepPositions = kStepBlocks * kBlockPositions;
constexpr int kUnit = kKvUnitBytes / 2;  // elements
// Of a multiprocessor; says how many registers a kernel may take.
constexpr int kResidentBlocks = 3;
constexpr float kLog2E = 1.44269504088896341f;
static_assert(kWarps * kWarpQueries == kPromptTileQueries);

// Units of a block's keys, and as many of its values: (units of a head, 16).
template <int kHeadDim>
constexpr int kBlockUnits = kHeadDim / kUnit * kBlockPositions;
template <int kHeadDim>
constexpr int kStageUnits = kStepBlocks * 2 * kBlockUnits<kHeadDim>;

// A block's share: a tile and a group of heads.
struct Share {
  QueryTile tile;
  HeadGroup group;

  __device__ int num_queries() const { return tile.num_rows * group.count; }
  // Positions that its last row sees.
  __device__ int end() const { return tile.first_position + tile.num_rows; }
  // Of what fills up the tile: that of the last query.
  __device__ int Clamp(int query) const {
    return min(query, num_queries() - 1);
  }
  __device__ int PositionOf(int query) const {
    return tile.first_position + Clamp(query) / group.count;
  }
};

// Where this lane's two queries are in (rows, num_heads * head_dim).
__device__ __forceinline__ int64_t QueryOffset(const AttentionArguments& a,
                                               const Share& share, int query) {
  query = share.Clamp(query);
  const int row = share.tile.first_row + query / share.group.count;
  const int head = a.heads[share.group.first + query % share.group.count];
  return (static_cast<int64_t>(row) * a.num_heads + head) * a.cache.head_dim;
}

template <typename T>
__device__ __forceinline__ uint32_t Pack(float first, float second) {
  PairOf<T> pair;
  pair.x = ToCached<T>(first);
  pair.y = ToCached<T>(second);
  return BitsOf(pair);
}

// The warp's queries as operands, 16 elements each.
template <typename T, int kHeadDim>
__device__ __forceinline__ void LoadQueries(
    const AttentionArguments& a, const Share& share,
    uint32_t (&queries)[kHeadDim / 16][4]) {
  const int lane = threadIdx.x % 32;
  const int first = threadIdx.x / 32 * kWarpQueries + lane / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float* query =
        a.queries + QueryOffset(a, share, first + 8 * half) + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
      const float2 pair = *reinterpret_cast<const float2*>(query + i * 8);
      queries[i / 2][i % 2 * 2 + half] = Pack<T>(pair.x, pair.y);
    }
  }
}

// Begins to copy a step's keys and values. What the tile does not see, which
// may be anything, becomes 0: values meet weight 0 there.
template <typename T, int kHeadDim>
__device__ __forceinline__ void CopyStep(const AttentionArguments& a,
                                         const Share& share, int first,
                                         uint4* stage) {
  constexpr int kUnits = kHeadDim / kUnit;
#pragma unroll
  for (int b = 0; b < kStepBlocks; ++b) {
    const int begin = first + b * kBlockPositions;
    const int index = min(begin, share.end() - 1) / kBlockPositions;
    const int64_t block = __ldg(a.blocks + share.tile.first_block + index);
    const uint4* from = reinterpret_cast<const uint4*>(
        a.cache.Keys<T>(block, share.group.kv_head));
    uint4* keys = stage + b * 2 * kBlockUnits<kHeadDim>;
    for (int i = threadIdx.x; i < kBlockUnits<kHeadDim>; i += kThreads) {
      const int place = i % kBlockPositions;
      const bool seen = begin + place < share.end();
      CpAsync16(keys + i, from + i, seen);
      CpAsync16(
          keys + kBlockUnits<kHeadDim> + i,
          from + kBlockUnits<kHeadDim> + place * kUnits + i / kBlockPositions,
          seen);
    }
  }
}

// What a lane has of its two queries.
template <int kHeadDim>
struct Running {
  float largest[2];  // score, times log2(e)
  float sum[2];      // of this lane's positions
  float gathered[kHeadDim / 8][4];
};

// scores[i] = queries * keys of positions 8 * i and on
template <typename T, int kHeadDim>
__device__ __forceinline__ void Score(
    const uint4* stage, const uint32_t (&queries)[kHeadDim / 16][4],
    float (&scores)[kStepPositions / 8][4]) {
  const int lane = threadIdx.x % 32;
  const int place = lane / 16 * 8 + lane % 8;
#pragma unroll
  for (int b = 0; b < kStepBlocks; ++b) {
    const uint4* keys = stage + b * 2 * kBlockUnits<kHeadDim>;
#pragma unroll
    for (int i = 0; i < kHeadDim / 16; ++i) {
      uint32_t key[4];
      LdMatrixX4(key, keys + (2 * i + lane / 8 % 2) * kBlockPositions + place);
      const uint32_t low[2] = {key[0], key[1]};
      const uint32_t high[2] = {key[2], key[3]};
      Mma<T>(scores[2 * b], queries[i], low);
      Mma<T>(scores[2 * b + 1], queries[i], high);
    }
  }
}

// Scores become weights, as operands; what was gathered before is brought to
// the same largest score. Sums are of what the weights are rounded to.
template <typename T, int kHeadDim>
__device__ __forceinline__ void Weigh(float (&scores)[kStepPositions / 8][4],
                                      const int (&num_keys)[2], float scale,
                                      uint32_t (&weights)[kStepBlocks][4],
                                      Running<kHeadDim>* running) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = running->largest[half];
#pragma unroll
    for (int i = 0; i < kStepPositions / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        float& score = scores[i][2 * half + j];
        score = i * 8 + column + j < num_keys[half] ? score * scale : -INFINITY;
        largest = fmaxf(largest, score);
      }
    }
    largest = WarpMax<4>(largest);
    const float rescale = exp2f(running->largest[half] - largest);
    running->largest[half] = largest;
    running->sum[half] *= rescale;
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
      running->gathered[i][2 * half] *= rescale;
      running->gathered[i][2 * half + 1] *= rescale;
    }
#pragma unroll
    for (int i = 0; i < kStepPositions / 8; ++i) {
      const uint32_t pair = BitsOf(
          FromFloat2<T>(make_float2(exp2f(scores[i][2 * half] - largest),
                                    exp2f(scores[i][2 * half + 1] - largest))));
      weights[i / 2][i % 2 * 2 + half] = pair;
      const float2 rounded = ToFloat2(PairFromBits<T>(pair));
      running->sum[half] += rounded.x + rounded.y;
    }
  }
}

template <typename T, int kHeadDim>
__device__ __forceinline__ void Gather(
    const uint4* stage, const uint32_t (&weights)[kStepBlocks][4],
    Running<kHeadDim>* running) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int b = 0; b < kStepBlocks; ++b) {
    const uint4* values = stage + (b * 2 + 1) * kBlockUnits<kHeadDim>;
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; i += 2) {
      uint32_t value[4];
      LdMatrixX4Transposed(
          value, values + (i + lane / 16) * kBlockPositions + lane % 16);
      const uint32_t low[2] = {value[0], value[1]};
      const uint32_t high[2] = {value[2], value[3]};
      Mma<T>(running->gathered[i], weights[b], low);
      Mma<T>(running->gathered[i + 1], weights[b], high);
    }
  }
}

template <int kHeadDim>
__device__ __forceinline__ void Finish(const AttentionArguments& a,
                                       const Share& share,
                                       const Running<kHeadDim>& running) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = WarpSum<4>(running.sum[half]);
    const int query = threadIdx.x / 32 * kWarpQueries + lane / 4 + 8 * half;
    if (query >= share.num_queries()) continue;
    float* out = a.out + QueryOffset(a, share, query) + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
      *reinterpret_cast<float2*>(out + i * 8) =
          make_float2(running.gathered[i][2 * half] / sum,
                      running.gathered[i][2 * half + 1] / sum);
    }
  }
}

// One tile and group over its whole context. Shared memory holds two steps'
// keys and values: one is copied while the other is computed with.
// Limits: 168 registers, 32 KiB of static shared memory.
template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, kResidentBlocks)
    PromptKernel(AttentionArguments a) {
  CARAVAN_SHARED(uint4, stages, [2 * kStageUnits<kHeadDim>]);
  const Share share = {a.tiles[blockIdx.y], a.groups[blockIdx.x]};
  if (share.tile.num_rows == 0) return;
  CopyStep<T, kHeadDim>(a, share, 0, stages);
  CpAsyncCommit();
  uint32_t queries[kHeadDim / 16][4];
  LoadQueries<T, kHeadDim>(a, share, queries);
  const int first_query = threadIdx.x / 32 * kWarpQueries;
  const int query = first_query + threadIdx.x % 32 / 4;
  // Positions that any query of the warp sees.
  const int warp_end = first_query < share.num_queries()
                           ? share.PositionOf(first_query + 15) + 1
                           : 0;
  const float scale = a.scale * kLog2E;
  Running<kHeadDim> running = {{-INFINITY, -INFINITY}, {0, 0}, {}};
  for (int first = 0; first < share.end(); first += kStepPositions) {
    const int stage = first / kStepPositions % 2 * kStageUnits<kHeadDim>;
    CpAsyncWait<0>();
    __syncthreads();  // this step is there, and the one before it done with
    if (first + kStepPositions < share.end()) {
      CopyStep<T, kHeadDim>(a, share, first + kStepPositions,
                            stages + (kStageUnits<kHeadDim> - stage));
      CpAsyncCommit();
    }
    if (first >= warp_end) continue;  // the same for the whole warp
    const int num_keys[2] = {share.PositionOf(query) + 1 - first,
                             share.PositionOf(query + 8) + 1 - first};
    float scores[kStepPositions / 8][4] = {};
    Score<T, kHeadDim>(stages + stage, queries, scores);
    uint32_t weights[kStepBlocks][4];
    Weigh<T, kHeadDim>(scores, num_keys, scale, weights, &running);
    Gather<T, kHeadDim>(stages + stage, weights, &running);
  }
  Finish<kHeadDim>(a, share, running);
}

using Kernel = void (*)(AttentionArguments);

template <typename T>
Kernel KernelOf(int head_dim) {
  switch (head_dim) {
    case 64:
      return PromptKernel<T, 64>;
    case 80:
      return PromptKernel<T, 80>;
    case 128:
      return PromptKernel<T, 128>;
    default:
      return nullptr;
  }
}

Kernel KernelOf(const KvLayerView& cache) {
  switch (cache.format) {
    case KvFormat::kFloat32:
      return nullptr;
    case KvFormat::kHalf:
      return KernelOf<__half>(cache.head_dim);
    case KvFormat::kBFloat16:
      return KernelOf<__nv_bfloat16>(cache.head_dim);
  }
  return nullptr;
}

}  // namespace

bool CanAttendPrompts(const KvLayerView& cache) {
  return KernelOf(cache) != nullptr;
}

cudaError_t AttendPrompts(const AttentionArguments& a, cudaStream_t stream) {
  constexpr int kMaxGrid = 65535;
  const Kernel kernel = KernelOf(a.cache);
  if (kernel == nullptr || a.num_tiles < 0 || a.num_tiles > kMaxGrid ||
      a.rows_per_tile < 1 || a.rows_per_tile > kPromptTileQueries ||
      a.num_groups < 1) {
    return cudaErrorInvalidValue;
  }
  if (a.num_tiles == 0) return cudaSuccess;
  return Launch(kernel, {dim3(a.num_groups, a.num_tiles), dim3(kThreads)},
                stream, a);
}

}  // namespace caravan::worker::cuda
