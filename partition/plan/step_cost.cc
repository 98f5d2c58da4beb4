#include "partition/plan/step_cost.h"

#include "partition/plan/rank_memory.h"

namespace caravan::partition {

int64_t BytesPerToken(const ModelSpec& spec, const HoldOptions& options) {
  RankPlan whole = WholeModel(spec);
  whole.has_embedding = false;
  int64_t bytes = 0;
  ForEachMatrix(spec, whole, options, [&bytes](const HeldMatrix& matrix) {
    bytes += matrix.count * matrix.rows * ByteSize(matrix.format, matrix.cols);
  });
  return bytes;
}

double PromptOperations(const ModelSpec& spec, int64_t num_tokens) {
  const int64_t attention = 2 * spec.hidden_size * spec.head_dim *
                            (spec.num_heads + spec.num_kv_heads);
  const int64_t layer =
      attention + 3 * spec.hidden_size * spec.intermediate_size;
  const int64_t head = spec.vocab_size * spec.hidden_size;
  return 2.0 * (static_cast<double>(num_tokens) * spec.num_layers *
                    static_cast<double>(layer) +
                static_cast<double>(head));
}

}  // namespace caravan::partition
