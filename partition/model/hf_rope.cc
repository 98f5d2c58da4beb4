#include "partition/model/hf_rope.h"

#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace caravan::partition {
namespace {

constexpr double kDefaultTheta = 10000.0;

// "rope_type" is the newer spelling; files may hold both.
absl::StatusOr<std::string> RopeType(const JsonFields& fields) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::string> type,
                           fields.String("type"));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::string> rope_type,
                           fields.String("rope_type"));
  if (type.has_value() && rope_type.has_value() && *type != *rope_type) {
    return absl::InvalidArgumentError(absl::StrCat(
        "RoPE fields type and rope_type differ: \"", absl::CHexEscape(*type),
        "\" and \"", absl::CHexEscape(*rope_type), "\""));
  }
  return rope_type.value_or(type.value_or("default"));
}

absl::StatusOr<RopeScaling> ScalingOf(const std::string& type) {
  if (type == "default") return RopeScaling::kNone;
  if (type == "linear") return RopeScaling::kLinear;
  if (type == "dynamic") return RopeScaling::kDynamic;
  if (type == "llama3") return RopeScaling::kLlama3;
  return absl::UnimplementedError(
      absl::StrCat("RoPE scaling type \"", absl::CHexEscape(type),
                   "\" is not supported; default, linear, dynamic and llama3 "
                   "are"));
}

absl::Status RefusePartialRotary(const JsonFields& fields) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<double> partial,
                           fields.Number("partial_rotary_factor"));
  if (partial.value_or(1.0) != 1.0) {
    return absl::UnimplementedError(absl::StrCat(
        "partial_rotary_factor ", *partial, " is not supported; 1 is"));
  }
  return absl::OkStatus();
}

absl::Status ReadLlama3(const JsonFields& fields, int64_t max_positions,
                        RopeSpec& rope) {
  CARAVAN_ASSIGN_OR_RETURN(rope.low_frequency_factor,
                           fields.RequiredNumber("low_freq_factor"));
  CARAVAN_ASSIGN_OR_RETURN(rope.high_frequency_factor,
                           fields.RequiredNumber("high_freq_factor"));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> original,
                           fields.Integer("original_max_position_embeddings"));
  rope.original_max_positions = original.value_or(max_positions);
  return absl::OkStatus();
}

// `scaling` is rope_scaling or rope_parameters, or nullptr.
absl::StatusOr<RopeSpec> ReadScaling(const nlohmann::json* scaling,
                                     absl::string_view name,
                                     const ModelSpec& spec) {
  RopeSpec rope;
  rope.theta = kDefaultTheta;
  if (scaling == nullptr) return rope;
  for (const auto& [key, value] : scaling->items()) {
    if (value.is_object()) {
      return absl::UnimplementedError(
          absl::StrCat(name, " per layer type is not supported: \"",
                       absl::CHexEscape(key), "\""));
    }
  }
  const JsonFields fields(*scaling, absl::StrCat(name, "."));
  CARAVAN_RETURN_IF_ERROR(RefusePartialRotary(fields));
  CARAVAN_ASSIGN_OR_RETURN(const std::string type, RopeType(fields));
  CARAVAN_ASSIGN_OR_RETURN(rope.scaling, ScalingOf(type));
  if (rope.scaling == RopeScaling::kNone) return rope;
  CARAVAN_ASSIGN_OR_RETURN(rope.factor, fields.RequiredNumber("factor"));
  if (rope.scaling == RopeScaling::kLlama3) {
    CARAVAN_RETURN_IF_ERROR(ReadLlama3(fields, spec.max_positions, rope));
  }
  if (rope.scaling == RopeScaling::kDynamic) {
    rope.original_max_positions = spec.max_positions;
  }
  return rope;
}

absl::Status ReadTheta(const JsonFields& config,
                       const nlohmann::json* parameters, RopeSpec& rope) {
  CARAVAN_ASSIGN_OR_RETURN(std::optional<double> theta,
                           config.Number("rope_theta"));
  if (parameters != nullptr) {
    CARAVAN_ASSIGN_OR_RETURN(
        const std::optional<double> inner,
        JsonFields(*parameters, "rope_parameters.").Number("rope_theta"));
    if (inner.has_value()) theta = inner;
  }
  rope.theta = theta.value_or(kDefaultTheta);
  return absl::OkStatus();
}

bool SameScaling(const RopeSpec& a, const RopeSpec& b) {
  return a.scaling == b.scaling && a.factor == b.factor &&
         a.low_frequency_factor == b.low_frequency_factor &&
         a.high_frequency_factor == b.high_frequency_factor &&
         a.original_max_positions == b.original_max_positions;
}

// The field may say 1e308: the product is checked before it becomes an integer.
absl::Status StretchContext(ModelSpec& spec) {
  if (spec.rope.scaling != RopeScaling::kLinear &&
      spec.rope.scaling != RopeScaling::kDynamic) {
    return absl::OkStatus();
  }
  const double stretched =
      static_cast<double>(spec.max_positions) * spec.rope.factor;
  if (!(stretched >= 1.0 && stretched < 0x1p31)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_position_embeddings ", spec.max_positions, " times RoPE factor ",
        spec.rope.factor, " is out of range"));
  }
  spec.max_positions = static_cast<int64_t>(stretched);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadHfRope(const JsonFields& config, ModelSpec& spec) {
  CARAVAN_RETURN_IF_ERROR(RefusePartialRotary(config));
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json* parameters,
                           config.Object("rope_parameters"));
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json* scaling,
                           config.Object("rope_scaling"));
  if (parameters == nullptr) {
    CARAVAN_ASSIGN_OR_RETURN(spec.rope,
                             ReadScaling(scaling, "rope_scaling", spec));
  } else {
    CARAVAN_ASSIGN_OR_RETURN(spec.rope,
                             ReadScaling(parameters, "rope_parameters", spec));
    if (scaling != nullptr) {
      CARAVAN_ASSIGN_OR_RETURN(const RopeSpec other,
                               ReadScaling(scaling, "rope_scaling", spec));
      if (!SameScaling(spec.rope, other)) {
        return absl::InvalidArgumentError(
            "fields rope_parameters and rope_scaling contradict each other");
      }
    }
  }
  CARAVAN_RETURN_IF_ERROR(ReadTheta(config, parameters, spec.rope));
  return StretchContext(spec);
}

}  // namespace caravan::partition
