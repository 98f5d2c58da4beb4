// Attention over a paged KV cache, block by block in the order of positions
// with a running maximum and sum (online softmax: Milakov and Gimelshein,
// 2018). The order of arithmetic depends on positions only. Internal linkage:
// kernels.h says why.
#ifndef CARAVAN_WORKER_BACKEND_CPU_ATTENTION_KERNELS_H_
#define CARAVAN_WORKER_BACKEND_CPU_ATTENTION_KERNELS_H_

#include <cstdint>

#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/simd.h"

namespace caravan::worker::cpu {
namespace {

// Queries that share each load of keys and values: as many as registers hold.
constexpr int kQueryTile = kRegisters == 32 ? 12 : 12 / kVectors16;

// How a cache holds its elements, and kLanes of them as float32.
struct Float32Cache {
  using Element = float;
  static CARAVAN_INLINE Vec Read(const Element* from) { return Load(from); }
};
struct Float16Cache {
  using Element = uint16_t;
  static CARAVAN_INLINE Vec Read(const Element* from) {
    return LoadFloat16(from);
  }
};
struct BFloat16Cache {
  using Element = uint16_t;
  static CARAVAN_INLINE Vec Read(const Element* from) {
    return LoadBFloat16(from);
  }
};

// A block of keys and values, and the one that follows, which is fetched into
// the processor's cache meanwhile: it lies anywhere, so that it cannot be
// foreseen.
template <typename Cache>
struct BlockPair {
  const typename Cache::Element* present;
  const typename Cache::Element* next;
};

// What a query has gathered from the blocks so far.
struct RunningSoftmax {
  float largest;  // score
  float sum;      // of exp(score - largest)
  float rescale;  // what this block makes of earlier blocks' values
};

// scores[r][j] = queries[r] . key j of the block * scale
template <typename Cache, int kRows>
CARAVAN_INLINE void ScoreBlock(const AttendArguments& a, int first,
                               const BlockPair<Cache>& block, float* scores) {
  const float* const* queries = a.queries + first;
  const auto* keys = block.present;
  Vec sum[kRows][kVectors16];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors16; ++v) sum[r][v] = Zero();
  }
  for (int64_t d = 0; d < a.head_dim; ++d) {
    Prefetch(block.next + d * kBlockPositions);
    Vec key[kVectors16];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors16; ++v) {
      key[v] = Cache::Read(keys + d * kBlockPositions + v * kLanes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec element = Set(queries[r][d]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors16; ++v) {
        sum[r][v] = Fma(element, key[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors16; ++v) {
      Store(scores + r * kBlockPositions + v * kLanes,
            sum[r][v] * Set(a.scale));
    }
  }
}

// Scores of the first `num_keys` positions become exp(score - largest), the
// others, which the query does not see, 0.
CARAVAN_INLINE void SoftmaxBlock(int64_t num_keys, float* scores,
                                 RunningSoftmax* running) {
  for (int64_t j = num_keys; j < kBlockPositions; ++j) {
    scores[j] = -__builtin_inff();
  }
  Vec value[kVectors16];
  for (int v = 0; v < kVectors16; ++v) value[v] = Load(scores + v * kLanes);
  const float largest = MaxOf(Max16(value), running->largest);
  for (int v = 0; v < kVectors16; ++v) {
    value[v] = Exp(value[v] - Set(largest));
    Store(scores + v * kLanes, value[v]);
  }
  running->rescale = largest == running->largest
                         ? 1.0f
                         : Exp(Set(running->largest - largest))[0];
  running->sum = running->sum * running->rescale + Sum16(value);
  running->largest = largest;
}

// gathered[r] = gathered[r] * rescale[r] + sum over j of weights[r][j] * value
// j
template <typename Cache, int kRows>
CARAVAN_INLINE void GatherBlock(const float* weights,
                                const BlockPair<Cache>& values,
                                int64_t num_keys, int64_t padded,
                                const RunningSoftmax* running,
                                float* gathered) {
  for (int64_t d = 0; d < padded; d += 16) {
    Vec sum[kRows][kVectors16];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors16; ++v) {
        sum[r][v] = Load(gathered + r * padded + d + v * kLanes) *
                    Set(running[r].rescale);
      }
    }
    for (int64_t j = 0; j < num_keys; ++j) {
      Prefetch(values.next + j * padded + d);
      Vec value[kVectors16];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors16; ++v) {
        value[v] = Cache::Read(values.present + j * padded + d + v * kLanes);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec weight = Set(weights[r * kBlockPositions + j]);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors16; ++v) {
          sum[r][v] = Fma(weight, value[v], sum[r][v]);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors16; ++v) {
        Store(gathered + r * padded + d + v * kLanes, sum[r][v]);
      }
    }
  }
}

// One block for queries [first, first + kRows), which see `num_keys` of it.
template <typename Cache, int kRows>
__attribute__((noinline)) void AttendTile(const AttendArguments& a,
                                          const BlockPair<Cache>& block,
                                          int first, int64_t num_keys,
                                          RunningSoftmax* running) {
  const int64_t padded = PaddedHeadDim(a.head_dim);
  float* gathered = a.scratch + first * padded;
  float* scores = a.scratch + kMostQueries * padded + first * kBlockPositions;
  ScoreBlock<Cache, kRows>(a, first, block, scores);
  for (int r = 0; r < kRows; ++r) {
    SoftmaxBlock(num_keys, scores + r * kBlockPositions, running + first + r);
  }
  const int64_t values = a.head_dim * kBlockPositions;
  GatherBlock<Cache, kRows>(scores,
                            {block.present + values, block.next + values},
                            num_keys, padded, running + first, gathered);
}

template <typename Cache, int kRows = kQueryTile>
CARAVAN_INLINE void AttendTileOf(int num_rows, const AttendArguments& a,
                                 const BlockPair<Cache>& block, int first,
                                 RunningSoftmax* running) {
  if (num_rows == kRows) {
    AttendTile<Cache, kRows>(a, block, first, kBlockPositions, running);
  } else if constexpr (kRows > 1) {
    AttendTileOf<Cache, kRows - 1>(num_rows, a, block, first, running);
  }
}

// One whole block for the queries from `first` on, in tiles of nearly equal
// height.
template <typename Cache>
CARAVAN_INLINE void AttendWholeBlock(const AttendArguments& a,
                                     const BlockPair<Cache>& block, int first,
                                     RunningSoftmax* running) {
  const int count = a.num_queries - first;
  const int num_tiles = (count + kQueryTile - 1) / kQueryTile;
  for (int t = 0; t < num_tiles; ++t) {
    const int begin = count * t / num_tiles;
    const int end = count * (t + 1) / num_tiles;
    AttendTileOf<Cache>(end - begin, a, block, first + begin, running);
  }
}

template <typename Cache>
inline void Attend(const AttendArguments& a) {
  using Element = typename Cache::Element;
  const int64_t padded = PaddedHeadDim(a.head_dim);
  RunningSoftmax running[kMostQueries];
  for (int q = 0; q < a.num_queries; ++q) {
    running[q] = {-__builtin_inff(), 0.0f, 1.0f};
  }
  __builtin_memset(a.scratch, 0, a.num_queries * padded * sizeof(float));
  const int64_t most_keys = a.num_keys[a.num_queries - 1];
  const auto block_of = [&a](int64_t key) {
    return static_cast<const Element*>(a.cache) +
           a.blocks[key / kBlockPositions] * a.block_stride;
  };
  int first = 0;  // queries before it have seen all that they see
  for (int64_t key = 0; key < most_keys; key += kBlockPositions) {
    BlockPair<Cache> block = {block_of(key), nullptr};
    const int64_t next = key + kBlockPositions;
    block.next = next < most_keys ? block_of(next) : block.present;
    while (a.num_keys[first] <= key) ++first;
    int q = first;
    // Who sees a part of it stands alone: what others see beyond must not meet
    // it, not even with weight 0.
    for (; q < a.num_queries && a.num_keys[q] < next; ++q) {
      AttendTile<Cache, 1>(a, block, q, a.num_keys[q] - key, running);
    }
    AttendWholeBlock(a, block, q, running);
  }
  for (int q = 0; q < a.num_queries; ++q) {
    const float* gathered = a.scratch + q * padded;
    for (int64_t d = 0; d < a.head_dim; ++d) {
      a.outs[q][d] = gathered[d] / running[q].sum;
    }
  }
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_ATTENTION_KERNELS_H_
