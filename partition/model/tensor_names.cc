#include "partition/model/tensor_names.h"

namespace caravan::partition {

std::vector<NamedShape> ExpectedTensors(const ModelSpec& spec) {
  const int64_t hidden = spec.hidden_size;
  const int64_t query = spec.num_heads * spec.head_dim;
  const int64_t kv = spec.num_kv_heads * spec.head_dim;
  const int64_t mlp = spec.intermediate_size;
  std::vector<NamedShape> tensors;
  tensors.reserve(static_cast<size_t>(spec.num_layers) * 9 + 3);
  tensors.push_back({std::string(kEmbedding), spec.vocab_size, hidden});
  for (int layer = 0; layer < spec.num_layers; ++layer) {
    const auto add = [&](absl::string_view part, int64_t rows, int64_t cols) {
      tensors.push_back({LayerTensor(layer, part), rows, cols});
    };
    add(kInputNorm, 1, hidden);
    add(kQuery, query, hidden);
    add(kKey, kv, hidden);
    add(kValue, kv, hidden);
    add(kAttentionOutput, hidden, query);
    add(kMlpNorm, 1, hidden);
    add(kGate, mlp, hidden);
    add(kUp, mlp, hidden);
    add(kDown, hidden, mlp);
  }
  tensors.push_back({std::string(kFinalNorm), 1, hidden});
  if (!spec.tied_embeddings) {
    tensors.push_back({std::string(kHead), spec.vocab_size, hidden});
  }
  return tensors;
}

}  // namespace caravan::partition
