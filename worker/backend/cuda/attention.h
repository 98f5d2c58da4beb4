// Causal attention over the paged KV cache, for decoding and for prompts.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_ATTENTION_H_
#define CARAVAN_WORKER_BACKEND_CUDA_ATTENTION_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/kv_layout.h"

namespace caravan::worker::cuda {

// The context is cut at every multiple of this many positions, whatever the
// batch: each part's softmax is computed alone, in steps of 32 positions, and
// the parts are combined in their order. So a query's bits depend on what it
// sees alone, be it decoded or part of a prompt.
constexpr int kSplitPositions = 256;
// Queries, rows times heads, that one block lets attend: its warps share what
// they read of a KV head.
constexpr int kTileQueries = 16;

// Some rows of one sequence; of padding, none.
struct QueryTile {
  int32_t first_row;
  int32_t num_rows;
  int32_t first_position;  // of first_row
  int32_t first_block;     // of the sequence, in AttentionArguments::blocks
};

// Some query heads that read the same KV head: heads[first] and on.
struct HeadGroup {
  int32_t kv_head;
  int32_t first;
  int32_t count;
};

// All on the device.
struct AttentionArguments {
  const float* queries = nullptr;  // (rows, num_heads * head_dim)
  float* out = nullptr;            // likewise
  int num_heads = 0;
  float scale = 0;
  KvLayerView cache;
  const int32_t* blocks = nullptr;
  const QueryTile* tiles = nullptr;
  int num_tiles = 0;
  // Of any tile; times the heads of any group at most kTileQueries.
  int rows_per_tile = 0;
  const int32_t* heads = nullptr;
  const HeadGroup* groups = nullptr;
  int num_groups = 0;
  // The parts of the longest context of any row, or more.
  int num_splits = 0;
  // For contexts of several parts, of each row of a tile, part and head: sums
  // not yet divided (PartialFloats in all), the largest score and the sum of
  // exponentials.
  float* partial_sums = nullptr;
  float2* partial_stats = nullptr;
};

// Of a head's partial sums.
__host__ __device__ inline int SumFloats(const AttentionArguments& a) {
  return (a.cache.head_dim + 3) / 4 * 4;
}
// Floats of partial_sums per tile; partial_stats has one pair for every
// SumFloats of them.
inline int64_t PartialFloats(const AttentionArguments& a) {
  return int64_t{a.rows_per_tile} * a.num_splits * a.num_heads * SumFloats(a);
}

// Enqueues. Writes whole rows of `out`.
[[nodiscard]] cudaError_t Attend(const AttentionArguments& arguments,
                                 cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_ATTENTION_H_
