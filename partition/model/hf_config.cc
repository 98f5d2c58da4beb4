#include "partition/model/hf_config.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "partition/model/hf_rope.h"
#include "partition/model/json_fields.h"
#include "partition/model/strict_json.h"

namespace caravan::partition {
namespace {

constexpr int kMaxDepth = 16;

// What may be overridden. Anything else is refused: a field that is misspelt
// would otherwise change nothing and say nothing.
constexpr absl::string_view kShapeFields[] = {
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "tie_word_embeddings",
};

absl::Status Unsupported(absl::string_view field, absl::string_view value,
                         absl::string_view supported) {
  return absl::UnimplementedError(
      absl::StrCat(field, " \"", absl::CHexEscape(value),
                   "\" is not supported; ", supported, " is"));
}

absl::Status CheckArchitecture(const JsonFields& config) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::string> model_type,
                           config.String("model_type"));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::optional<std::vector<std::string>> architectures,
      config.Strings("architectures"));
  if (architectures.has_value() && !architectures->empty()) {
    for (const std::string& name : *architectures) {
      if (name != "LlamaForCausalLM") {
        return Unsupported("architecture", name, "LlamaForCausalLM");
      }
    }
  } else if (!model_type.has_value()) {
    return absl::InvalidArgumentError(
        "fields architectures and model_type are missing");
  }
  if (model_type.has_value() && *model_type != "llama") {
    return Unsupported("model_type", *model_type, "llama");
  }
  return absl::OkStatus();
}

absl::Status RefuseIfTrue(const JsonFields& config, absl::string_view field) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> value, config.Bool(field));
  if (value.value_or(false)) {
    return Unsupported(field, "true", "false");
  }
  return absl::OkStatus();
}

absl::Status RefuseQuantization(const JsonFields& config) {
  for (absl::string_view field :
       {"quantization_config", "compression_config"}) {
    CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json* object,
                             config.Object(field));
    if (object == nullptr) continue;
    CARAVAN_ASSIGN_OR_RETURN(
        const std::optional<std::string> method,
        JsonFields(*object, absl::StrCat(field, ".")).String("quant_method"));
    return absl::UnimplementedError(
        absl::StrCat(field, " is not supported: quantization method \"",
                     absl::CHexEscape(method.value_or("unknown")), "\""));
  }
  return absl::OkStatus();
}

absl::Status RefuseWindows(const JsonFields& config) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> used,
                           config.Bool("use_sliding_window"));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> window,
                           config.Integer("sliding_window"));
  if (window.has_value() && used.value_or(true)) {
    return absl::UnimplementedError(
        absl::StrCat("sliding_window ", *window, " is not supported"));
  }
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::vector<std::string>> types,
                           config.Strings("layer_types"));
  for (const std::string& type : types.value_or(std::vector<std::string>())) {
    if (type != "full_attention") {
      return Unsupported("layer_types", type, "full_attention");
    }
  }
  return absl::OkStatus();
}

// What would change the arithmetic.
absl::Status RefuseUnsupported(const JsonFields& config) {
  CARAVAN_RETURN_IF_ERROR(CheckArchitecture(config));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::string> activation,
                           config.String("hidden_act"));
  // Two names of one function.
  if (activation.has_value() && *activation != "silu" &&
      *activation != "swish") {
    return Unsupported("hidden_act", *activation, "silu");
  }
  for (absl::string_view field :
       {"attention_bias", "mlp_bias", "rope_interleaved"}) {
    CARAVAN_RETURN_IF_ERROR(RefuseIfTrue(config, field));
  }
  CARAVAN_RETURN_IF_ERROR(RefuseQuantization(config));
  return RefuseWindows(config);
}

absl::StatusOr<int> RequiredInt(const JsonFields& config,
                                absl::string_view field) {
  CARAVAN_ASSIGN_OR_RETURN(const int64_t value, config.RequiredInteger(field));
  if (!std::in_range<int>(value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("field ", field, " is out of range: ", value));
  }
  return static_cast<int>(value);
}

absl::Status ReadHeads(const JsonFields& config, ModelSpec& spec) {
  CARAVAN_ASSIGN_OR_RETURN(spec.num_heads,
                           RequiredInt(config, "num_attention_heads"));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> kv_heads,
                           config.Integer("num_key_value_heads"));
  spec.num_kv_heads = spec.num_heads;
  if (kv_heads.has_value()) {
    CARAVAN_ASSIGN_OR_RETURN(spec.num_kv_heads,
                             RequiredInt(config, "num_key_value_heads"));
  }
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> head_dim,
                           config.Integer("head_dim"));
  if (head_dim.has_value()) {
    spec.head_dim = *head_dim;
    return absl::OkStatus();
  }
  if (spec.num_heads < 1 || spec.hidden_size % spec.num_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("hidden_size must be a multiple of num_attention_heads: ",
                     spec.hidden_size, " and ", spec.num_heads));
  }
  spec.head_dim = spec.hidden_size / spec.num_heads;
  return absl::OkStatus();
}

absl::Status ReadSizes(const JsonFields& config, ModelSpec& spec) {
  CARAVAN_ASSIGN_OR_RETURN(spec.vocab_size,
                           config.RequiredInteger("vocab_size"));
  CARAVAN_ASSIGN_OR_RETURN(spec.hidden_size,
                           config.RequiredInteger("hidden_size"));
  CARAVAN_ASSIGN_OR_RETURN(spec.intermediate_size,
                           config.RequiredInteger("intermediate_size"));
  CARAVAN_ASSIGN_OR_RETURN(spec.num_layers,
                           RequiredInt(config, "num_hidden_layers"));
  CARAVAN_RETURN_IF_ERROR(ReadHeads(config, spec));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> positions,
                           config.Integer("max_position_embeddings"));
  spec.max_positions = positions.value_or(2048);
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<double> epsilon,
                           config.Number("rms_norm_eps"));
  spec.rms_norm_epsilon = epsilon.value_or(1e-6);
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> tied,
                           config.Bool("tie_word_embeddings"));
  spec.tied_embeddings = tied.value_or(false);
  return absl::OkStatus();
}

absl::Status ReadDType(const JsonFields& config, ModelSpec& spec) {
  CARAVAN_ASSIGN_OR_RETURN(std::optional<std::string> name,
                           config.String("dtype"));
  if (!name.has_value()) {
    CARAVAN_ASSIGN_OR_RETURN(name, config.String("torch_dtype"));
  }
  spec.dtype = DType::kFloat32;
  if (!name.has_value()) return absl::OkStatus();
  const absl::string_view plain = absl::StripPrefix(*name, "torch.");
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    if (plain == Name(dtype)) {
      spec.dtype = dtype;
      return absl::OkStatus();
    }
  }
  return absl::UnimplementedError(
      absl::StrCat("dtype \"", absl::CHexEscape(*name),
                   "\" is not supported; float32, float16 and bfloat16 are"));
}

absl::Status AddEosTokens(const std::vector<int64_t>& tokens, ModelSpec& spec) {
  for (int64_t token : tokens) {
    if (token < 0 || token >= spec.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("eos_token_id ", token, " is outside the vocabulary of ",
                       spec.vocab_size));
    }
    const int id = static_cast<int>(token);
    if (std::find(spec.eos_tokens.begin(), spec.eos_tokens.end(), id) ==
        spec.eos_tokens.end()) {
      spec.eos_tokens.push_back(id);
    }
  }
  return absl::OkStatus();
}

// Absent fields mean 1 and 2, as in LlamaConfig; null means none.
absl::Status ReadTokens(const JsonFields& config, ModelSpec& spec) {
  CARAVAN_ASSIGN_OR_RETURN(std::optional<int64_t> bos,
                           config.Integer("bos_token_id"));
  if (!config.Has("bos_token_id") && spec.vocab_size > 1) bos = 1;
  if (bos.has_value()) {
    if (*bos < 0 || *bos >= spec.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("bos_token_id ", *bos, " is outside the vocabulary of ",
                       spec.vocab_size));
    }
    spec.bos_token = static_cast<int>(*bos);
  }
  CARAVAN_ASSIGN_OR_RETURN(std::optional<std::vector<int64_t>> eos,
                           config.Integers("eos_token_id"));
  if (!config.Has("eos_token_id") && spec.vocab_size > 2) eos = {{2}};
  return AddEosTokens(eos.value_or(std::vector<int64_t>()), spec);
}

}  // namespace

absl::StatusOr<ModelSpec> ParseHfConfig(absl::string_view text) {
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json json,
                           ParseStrictJson(text, kMaxDepth));
  const JsonFields config(json);
  CARAVAN_RETURN_IF_ERROR(RefuseUnsupported(config));
  ModelSpec spec;
  CARAVAN_RETURN_IF_ERROR(ReadSizes(config, spec));
  CARAVAN_RETURN_IF_ERROR(ReadHfRope(config, spec));
  CARAVAN_RETURN_IF_ERROR(ReadDType(config, spec));
  // Before ReadTokens, which narrows ids below vocab_size.
  CARAVAN_RETURN_IF_ERROR(Validate(spec));
  CARAVAN_RETURN_IF_ERROR(ReadTokens(config, spec));
  return spec;
}

absl::StatusOr<std::string> OverrideHfConfig(absl::string_view text,
                                             absl::string_view overrides) {
  if (overrides.empty()) return std::string(text);
  absl::StatusOr<nlohmann::json> changes =
      ParseStrictJson(overrides, kMaxDepth);
  if (!changes.ok()) return Annotate(changes.status(), "--hf-overrides");
  CARAVAN_ASSIGN_OR_RETURN(nlohmann::json config,
                           ParseStrictJson(text, kMaxDepth));
  for (const auto& [field, value] : changes->items()) {
    if (std::find(std::begin(kShapeFields), std::end(kShapeFields), field) ==
        std::end(kShapeFields)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--hf-overrides: no field \"", absl::CHexEscape(field),
          "\"; these can be overridden: ", absl::StrJoin(kShapeFields, ", ")));
    }
    config[field] = value;
  }
  return config.dump();
}

absl::Status MergeGenerationConfig(absl::string_view text, ModelSpec& spec) {
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json json,
                           ParseStrictJson(text, kMaxDepth));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::vector<int64_t>> eos,
                           JsonFields(json).Integers("eos_token_id"));
  return AddEosTokens(eos.value_or(std::vector<int64_t>()), spec);
}

}  // namespace caravan::partition
