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

constexpr int kQueryTile = 4;

// What a query has gathered from the blocks so far.
struct RunningSoftmax {
  float largest;  // score
  float sum;      // of exp(score - largest)
  float rescale;  // what this block makes of earlier blocks' values
};

// scores[r][j] = queries[r] . key j of the block * scale
template <int kRows>
CARAVAN_INLINE void ScoreBlock(const float* const* queries, const float* keys,
                               int64_t head_dim, float scale, float* scores) {
  Vec sum[kRows][kVectors16];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors16; ++v) sum[r][v] = Zero();
  }
  for (int64_t d = 0; d < head_dim; ++d) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors16; ++v) {
      const Vec key = Load(keys + d * kBlockPositions + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        sum[r][v] = Fma(Set(queries[r][d]), key, sum[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors16; ++v) {
      Store(scores + r * kBlockPositions + v * kLanes, sum[r][v] * Set(scale));
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
template <int kRows>
CARAVAN_INLINE void GatherBlock(const float* weights, const float* values,
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
#pragma GCC unroll 16
      for (int v = 0; v < kVectors16; ++v) {
        const Vec value = Load(values + j * padded + d + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          sum[r][v] =
              Fma(Set(weights[r * kBlockPositions + j]), value, sum[r][v]);
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
template <int kRows>
CARAVAN_INLINE void AttendBlock(const AttendArguments& a, const float* block,
                                int first, int64_t num_keys,
                                RunningSoftmax* running) {
  const int64_t padded = PaddedHeadDim(a.head_dim);
  float* gathered = a.scratch + first * padded;
  float* scores = a.scratch + kMostQueries * padded + first * kBlockPositions;
  ScoreBlock<kRows>(a.queries + first, block, a.head_dim, a.scale, scores);
  for (int r = 0; r < kRows; ++r) {
    SoftmaxBlock(num_keys, scores + r * kBlockPositions, running + first + r);
  }
  GatherBlock<kRows>(scores, block + a.head_dim * kBlockPositions, num_keys,
                     padded, running + first, gathered);
}

void Attend(const AttendArguments& a) {
  const int64_t padded = PaddedHeadDim(a.head_dim);
  RunningSoftmax running[kMostQueries];
  for (int q = 0; q < a.num_queries; ++q) {
    running[q] = {-__builtin_inff(), 0.0f, 1.0f};
  }
  __builtin_memset(a.scratch, 0, a.num_queries * padded * sizeof(float));
  const int64_t most_keys = a.num_keys[a.num_queries - 1];
  int first = 0;  // queries before it have seen all that they see
  for (int64_t key = 0; key < most_keys; key += kBlockPositions) {
    const float* block =
        a.cache + a.blocks[key / kBlockPositions] * a.block_stride;
    while (a.num_keys[first] <= key) ++first;
    int q = first;
    for (; q < a.num_queries && a.num_keys[q] < key + kBlockPositions; ++q) {
      AttendBlock<1>(a, block, q, a.num_keys[q] - key, running);
    }
    for (; q + kQueryTile <= a.num_queries; q += kQueryTile) {
      AttendBlock<kQueryTile>(a, block, q, kBlockPositions, running);
    }
    for (; q < a.num_queries; ++q) {
      AttendBlock<1>(a, block, q, kBlockPositions, running);
    }
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
