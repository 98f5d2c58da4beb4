#include "partition/plan/rank_memory.h"

#include <algorithm>

#include "base/checked_math.h"

namespace caravan::partition {
namespace {

constexpr int64_t kFloat = sizeof(float);
// Backends hold matrices in panels of this many rows.
constexpr int64_t kPanelRows = 32;
// Rows of a batch that a product takes at once, for which there is scratch.
constexpr int64_t kProductRows = 96;
// Of each thread, for accumulating.
constexpr int64_t kThreadScratchBytes = int64_t{128} << 10;
// The cache holds values of a head filled up to whole vectors.
constexpr int64_t kVectorFloats = 16;

// The shapes (rows, cols) of a rank's matrices, as they are held.
struct Shapes {
  int64_t qkv_rows, query_size, gate_up_rows, columns, vocabulary, hidden;
};

Shapes ShapesOf(const ModelSpec& spec, const RankPlan& rank) {
  const TensorShard& shard = rank.shard;
  return {.qkv_rows =
              (shard.heads.size() + 2 * shard.kv_heads.size()) * spec.head_dim,
          .query_size = shard.heads.size() * spec.head_dim,
          .gate_up_rows = 2 * shard.mlp_columns.size(),
          .columns = shard.mlp_columns.size(),
          .vocabulary = shard.vocabulary.size(),
          .hidden = spec.hidden_size};
}

int64_t MatrixBytes(int64_t rows, int64_t cols, DType dtype) {
  return RoundUp(rows, kPanelRows) * cols * ByteSize(dtype);
}

}  // namespace

int64_t WeightBytes(const ModelSpec& spec, const RankPlan& rank,
                    const PlanOptions& options) {
  const Shapes s = ShapesOf(spec, rank);
  const DType dtype = options.weight_dtype;
  const int64_t layer = MatrixBytes(s.qkv_rows, s.hidden, dtype) +
                        MatrixBytes(s.hidden, s.query_size, dtype) +
                        MatrixBytes(s.gate_up_rows, s.hidden, dtype) +
                        MatrixBytes(s.hidden, s.columns, dtype) +
                        2 * s.hidden * kFloat;
  const int64_t vocabulary = MatrixBytes(s.vocabulary, s.hidden, dtype);
  const bool shared =
      rank.has_embedding && rank.has_head && spec.tied_embeddings;
  int64_t bytes = rank.layers.size() * layer;
  if (rank.has_embedding) bytes += vocabulary;
  if (rank.has_head) bytes += (shared ? 0 : vocabulary) + s.hidden * kFloat;
  return bytes;
}

int64_t ActivationBytes(const ModelSpec& spec, const RankPlan& rank,
                        const PlanOptions& options) {
  const Shapes s = ShapesOf(spec, rank);
  const int64_t rows = options.max_rows_per_step;
  int64_t floats = rows * (2 * s.hidden + 2 * s.query_size + s.columns);
  if (rank.has_head) floats += std::min(rows, kMaxLogitRows) * s.vocabulary;
  floats += options.max_model_len * spec.head_dim;  // RoPE: cos and sin
  const int64_t most_cols = std::max({s.hidden, s.query_size, s.columns});
  int64_t most_rows = std::max({s.qkv_rows, s.gate_up_rows, s.hidden});
  if (rank.has_embedding || rank.has_head) {
    most_rows = std::max(most_rows, s.vocabulary);
  }
  floats += kProductRows * (2 * most_cols + most_rows);
  return floats * kFloat + rank.device.num_cores * kThreadScratchBytes;
}

int64_t CommunicationBytes(const ModelSpec& spec, const PlanOptions& options) {
  const int64_t message = options.max_rows_per_step * spec.hidden_size * kFloat;
  int64_t messages = 0;
  // What is sent and what came; from three ranks on, sums are sent round too.
  if (options.tp == 2) messages += 2;
  if (options.tp > 2) messages += 3;
  // One on its way out, one coming in.
  if (options.pp > 1) messages += 2;
  return messages * message;
}

int64_t KvBlockBytes(const ModelSpec& spec, const RankPlan& rank, DType dtype) {
  const int64_t position =
      spec.head_dim + RoundUp(spec.head_dim, kVectorFloats);
  return rank.layers.size() * rank.shard.kv_heads.size() * kBlockTokens *
         position * ByteSize(dtype);
}

}  // namespace caravan::partition
