#include "partition/plan/rank_memory.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/checked_math.h"
#include "partition/plan/gpu_memory.h"

namespace caravan::partition {
namespace {

constexpr int64_t kFloat = sizeof(float);
// Backends hold matrices in panels of this many rows.
constexpr int64_t kPanelRows = 32;
// Rows of a batch that a product takes at once, for which there is scratch.
constexpr int64_t kProductRows = 96;
// Slots of chosen tokens for each row: two sets of ids with logits.
constexpr int64_t kTokenSlotFloats = 4;
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

int64_t BytesOn(DeviceKind kind, const HeldMatrix& matrix) {
  switch (kind) {
    case DeviceKind::kCpu:
      return matrix.count * RoundUp(matrix.rows, kPanelRows) *
             ByteSize(matrix.format, matrix.cols);
    case DeviceKind::kGpu:
      return matrix.count *
             GpuMatrixBytes(matrix.format, matrix.rows, matrix.cols);
  }
  return 0;
}

int64_t WeightBytes(const ModelSpec& spec, const RankPlan& rank,
                    const PlanOptions& options) {
  int64_t num_norms = 2 * rank.layers.size();
  if (rank.has_head) ++num_norms;
  int64_t bytes = num_norms * spec.hidden_size * kFloat;
  ForEachMatrix(spec, rank, options.hold(), [&](const HeldMatrix& matrix) {
    bytes += BytesOn(rank.device.kind, matrix);
  });
  return bytes;
}

int64_t CpuActivationBytes(const ModelSpec& spec, const RankPlan& rank,
                           const PlanOptions& options) {
  const Shapes s = ShapesOf(spec, rank);
  const int64_t rows = options.max_rows_per_step;
  int64_t floats = rows * (2 * s.hidden + 2 * s.query_size + s.columns);
  if (rank.has_head) {
    floats += std::min(rows, kMaxLogitRows) * s.vocabulary;
    floats += kTokenSlotFloats * rows;
  }
  floats += options.max_model_len * spec.head_dim;  // RoPE: cos and sin
  const int64_t most_cols = std::max({s.hidden, s.query_size, s.columns});
  int64_t most_rows = std::max({s.qkv_rows, s.gate_up_rows, s.hidden});
  if (rank.has_embedding || rank.has_head) {
    most_rows = std::max(most_rows, s.vocabulary);
  }
  floats += kProductRows * (2 * most_cols + most_rows);
  return floats * kFloat + rank.device.num_cores * kThreadScratchBytes;
}

int64_t CpuCommunicationBytes(const ModelSpec& spec,
                              const PlanOptions& options) {
  const int64_t message = options.max_rows_per_step * spec.hidden_size *
                          ByteSize(options.activation_dtype);
  int64_t messages = 0;
  // What is sent and what came; from three ranks on, sums are sent round too.
  if (options.tp == 2) messages += 2;
  if (options.tp > 2) messages += 3;
  // One on its way out, one coming in.
  if (options.pp > 1) messages += 2;
  if (options.activation_dtype != DType::kFloat32) {
    // Each group rounds in memory of its own.
    if (options.tp > 1) ++messages;
    if (options.pp > 1) ++messages;
  }
  return messages * message;
}

}  // namespace

void ForEachMatrix(const ModelSpec& spec, const RankPlan& rank,
                   const HoldOptions& options,
                   absl::FunctionRef<void(const HeldMatrix& matrix)> visit) {
  const Shapes s = ShapesOf(spec, rank);
  // The layers of an unquantized checkpoint are all alike.
  const int64_t alike = spec.is_quantized() ? 1 : rank.layers.size();
  for (int64_t layer = rank.layers.begin; layer < rank.layers.end;
       layer += alike) {
    const HeldLayer held = HeldLayerFormats(spec, rank.shard, options, layer);
    visit({alike, s.qkv_rows, s.hidden, held.qkv});
    visit({alike, s.hidden, s.query_size, held.attention_output});
    visit({alike, s.gate_up_rows, s.hidden, held.gate_up});
    visit({alike, s.hidden, s.columns, held.down});
  }
  const int64_t vocabulary = rank.shard.vocabulary.size();
  if (rank.has_embedding) {
    visit({1, vocabulary, spec.hidden_size, HeldEmbedding(spec, options)});
  }
  const bool shared =
      rank.has_embedding && rank.has_head && spec.tied_embeddings;
  if (rank.has_head && !shared) {
    visit({1, vocabulary, spec.hidden_size, HeldHead(spec, options)});
  }
}

RankPlan WholeModel(const ModelSpec& spec) {
  RankPlan whole;
  whole.layers = {0, spec.num_layers};
  whole.shard = {.heads = {0, spec.num_heads},
                 .kv_heads = {0, spec.num_kv_heads},
                 .mlp_columns = {0, spec.intermediate_size},
                 .vocabulary = {0, spec.vocab_size}};
  whole.has_embedding = true;
  whole.has_head = true;
  return whole;
}

std::string HeldFormatNames(const ModelSpec& spec,
                            absl::Span<const RankPlan> ranks,
                            const HoldOptions& options) {
  std::array<int64_t, kNumWeightFormats> bytes = {};
  for (const RankPlan& rank : ranks) {
    ForEachMatrix(spec, rank, options, [&bytes](const HeldMatrix& matrix) {
      bytes[static_cast<size_t>(matrix.format)] +=
          BytesOn(DeviceKind::kCpu, matrix);
    });
  }
  std::vector<WeightFormat> formats;
  for (int i = 0; i < kNumWeightFormats; ++i) {
    if (bytes[i] > 0) formats.push_back(static_cast<WeightFormat>(i));
  }
  std::sort(formats.begin(), formats.end(),
            [&bytes](WeightFormat a, WeightFormat b) {
              const int64_t more = bytes[static_cast<size_t>(a)];
              const int64_t less = bytes[static_cast<size_t>(b)];
              return more != less ? more > less : a < b;
            });
  return absl::StrJoin(formats, ", ",
                       [](std::string* out, WeightFormat format) {
                         absl::StrAppend(out, Name(format));
                       });
}

RankMemory MemoryWithoutCache(const ModelSpec& spec, const RankPlan& rank,
                              const PlanOptions& options) {
  RankMemory memory{.weights = WeightBytes(spec, rank, options)};
  switch (rank.device.kind) {
    case DeviceKind::kCpu:
      memory.activations = CpuActivationBytes(spec, rank, options);
      memory.communication = CpuCommunicationBytes(spec, options);
      break;
    case DeviceKind::kGpu:
      memory.activations = GpuActivationBytes(spec, rank, options);
      memory.communication = GpuCommunicationBytes(spec, options);
      memory.reserve = GpuReserveBytes(spec, rank, options);
      break;
  }
  return memory;
}

int64_t KvBlockBytes(const ModelSpec& spec, const RankPlan& rank) {
  switch (rank.device.kind) {
    case DeviceKind::kCpu:
      return rank.layers.size() * rank.shard.kv_heads.size() * kBlockTokens *
             (spec.head_dim + RoundUp(spec.head_dim, kVectorFloats)) *
             ByteSize(rank.kv_cache_dtype);
    case DeviceKind::kGpu:
      return GpuKvBlockBytes(spec, rank);
  }
  return 0;
}

}  // namespace caravan::partition
