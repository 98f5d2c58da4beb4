#include "partition/model/named_models.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "partition/model/hf_config.h"

namespace caravan::partition {
namespace {

struct Shape {
  absl::string_view name;
  int64_t hidden_size;
  int64_t intermediate_size;
  int num_layers;
  int num_heads;
  int num_kv_heads;
};

// Table 1 of Touvron et al., Llama 2, arXiv 2307.09288, and the published
// config.json files.
constexpr Shape kShapes[] = {
    {"llama-2-7b", 4096, 11008, 32, 32, 32},
    {"llama-2-13b", 5120, 13824, 40, 40, 40},
    {"llama-2-70b", 8192, 28672, 80, 64, 8},
};

std::string HfConfigOf(const Shape& shape) {
  return nlohmann::json({{"model_type", "llama"},
                         {"vocab_size", 32000},
                         {"hidden_size", shape.hidden_size},
                         {"intermediate_size", shape.intermediate_size},
                         {"num_hidden_layers", shape.num_layers},
                         {"num_attention_heads", shape.num_heads},
                         {"num_key_value_heads", shape.num_kv_heads},
                         {"max_position_embeddings", 4096},
                         {"rms_norm_eps", 1e-5},
                         {"dtype", "bfloat16"},
                         {"bos_token_id", 1},
                         {"eos_token_id", 2}})
      .dump();
}

}  // namespace

absl::StatusOr<ModelSpec> NamedModelSpec(absl::string_view name,
                                         absl::string_view overrides) {
  for (const Shape& shape : kShapes) {
    if (shape.name != name) continue;
    CARAVAN_ASSIGN_OR_RETURN(const std::string config,
                             OverrideHfConfig(HfConfigOf(shape), overrides));
    return ParseHfConfig(config);
  }
  return absl::NotFoundError(absl::StrCat(
      "no model is known by the name \"", name, "\"; known are ",
      absl::StrJoin(kShapes, ", ", [](std::string* out, const Shape& shape) {
        absl::StrAppend(out, shape.name);
      })));
}

}  // namespace caravan::partition
