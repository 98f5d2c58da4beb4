// The canonical names of a Llama model's tensors (Hugging Face's).
#ifndef CARAVAN_PARTITION_MODEL_TENSOR_NAMES_H_
#define CARAVAN_PARTITION_MODEL_TENSOR_NAMES_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

inline constexpr absl::string_view kEmbedding = "model.embed_tokens.weight";
inline constexpr absl::string_view kFinalNorm = "model.norm.weight";
inline constexpr absl::string_view kHead = "lm_head.weight";

// Parts of a layer, for LayerTensor().
inline constexpr absl::string_view kInputNorm = "input_layernorm";
inline constexpr absl::string_view kQuery = "self_attn.q_proj";
inline constexpr absl::string_view kKey = "self_attn.k_proj";
inline constexpr absl::string_view kValue = "self_attn.v_proj";
inline constexpr absl::string_view kAttentionOutput = "self_attn.o_proj";
inline constexpr absl::string_view kMlpNorm = "post_attention_layernorm";
inline constexpr absl::string_view kGate = "mlp.gate_proj";
inline constexpr absl::string_view kUp = "mlp.up_proj";
inline constexpr absl::string_view kDown = "mlp.down_proj";

// "model.layers.3.mlp.up_proj.weight"
inline std::string LayerTensor(int layer, absl::string_view part) {
  return absl::StrCat("model.layers.", layer, ".", part, ".weight");
}

struct NamedShape {
  std::string name;
  int64_t rows;  // 1 for vectors
  int64_t cols;
};

// Every tensor that a checkpoint of this spec must hold, in model order.
std::vector<NamedShape> ExpectedTensors(const ModelSpec& spec);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_TENSOR_NAMES_H_
