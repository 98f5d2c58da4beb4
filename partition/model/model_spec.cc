#include "partition/model/model_spec.h"

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "partition/model/tensor_names.h"

namespace caravan::partition {
namespace {

// Far above every model of the family, and small enough that products of any
// three stay in int64_t.
constexpr int64_t kMaxVocabulary = int64_t{1} << 24;
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 1024;
constexpr int64_t kMaxPositions = int64_t{1} << 30;

struct Field {
  absl::string_view name;
  int64_t value;
  int64_t limit;
};

absl::Status ValidateRanges(const ModelSpec& spec) {
  const std::array<Field, 8> fields = {{
      {"vocab_size", spec.vocab_size, kMaxVocabulary},
      {"hidden_size", spec.hidden_size, kMaxWidth},
      {"intermediate_size", spec.intermediate_size, kMaxWidth},
      {"num_layers", spec.num_layers, kMaxLayers},
      {"num_heads", spec.num_heads, kMaxHeads},
      {"num_kv_heads", spec.num_kv_heads, kMaxHeads},
      {"head_dim", spec.head_dim, kMaxHeadDim},
      {"max_positions", spec.max_positions, kMaxPositions},
  }};
  for (const Field& field : fields) {
    if (field.value < 1 || field.value > field.limit) {
      return absl::InvalidArgumentError(absl::StrCat(
          field.name, " must be 1 to ", field.limit, ", is ", field.value));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateFit(const ModelSpec& spec) {
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "num_heads must be a multiple of num_kv_heads: ", spec.num_heads,
        " and ", spec.num_kv_heads));
  }
  if (spec.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "head_dim must be even (RoPE turns pairs), is ", spec.head_dim));
  }
  if (!(spec.rms_norm_epsilon > 0.0 && spec.rms_norm_epsilon < 1.0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rms_norm_epsilon must be above 0 and below 1, is ",
                     spec.rms_norm_epsilon));
  }
  return absl::OkStatus();
}

bool AtLeastOne(double value) { return std::isfinite(value) && value >= 1.0; }

absl::Status ValidateLlama3(const RopeSpec& rope) {
  if (!(rope.low_frequency_factor > 0.0 &&
        rope.high_frequency_factor > rope.low_frequency_factor &&
        std::isfinite(rope.high_frequency_factor))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rope.high_frequency_factor must be above "
        "rope.low_frequency_factor, and that above 0: ",
        rope.high_frequency_factor, " and ", rope.low_frequency_factor));
  }
  return absl::OkStatus();
}

absl::Status ValidateRope(const ModelSpec& spec) {
  const RopeSpec& rope = spec.rope;
  if (!(std::isfinite(rope.theta) && rope.theta > 0.0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rope.theta must be above 0, is ", rope.theta));
  }
  if (rope.scaling == RopeScaling::kNone) return absl::OkStatus();
  if (!AtLeastOne(rope.factor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rope.factor must be at least 1, is ", rope.factor));
  }
  if (rope.scaling == RopeScaling::kLinear) return absl::OkStatus();
  if (rope.original_max_positions < 1 ||
      rope.original_max_positions > kMaxPositions) {
    return absl::InvalidArgumentError(
        absl::StrCat("rope.original_max_positions must be 1 to ", kMaxPositions,
                     ", is ", rope.original_max_positions));
  }
  if (rope.scaling == RopeScaling::kLlama3) return ValidateLlama3(rope);
  if (spec.head_dim <= 2) {
    // The exponent head_dim / (head_dim - 2) of dynamic NTK.
    return absl::InvalidArgumentError(absl::StrCat(
        "dynamic RoPE scaling needs head_dim above 2, is ", spec.head_dim));
  }
  return absl::OkStatus();
}

absl::Status ValidateStored(const ModelSpec& spec) {
  const size_t num_layers = spec.stored.layers.size();
  if (num_layers == 0 || num_layers == static_cast<size_t>(spec.num_layers)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("stored must say the formats of no layer or of all ",
                   spec.num_layers, ", has ", num_layers));
}

absl::Status ValidateTokens(const ModelSpec& spec) {
  if (spec.bos_token < -1 || spec.bos_token >= spec.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("bos_token ", spec.bos_token,
                     " is outside the vocabulary of ", spec.vocab_size));
  }
  for (int token : spec.eos_tokens) {
    if (token < 0 || token >= spec.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("eos_token ", token, " is outside the vocabulary of ",
                       spec.vocab_size));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const ModelSpec& spec) {
  CARAVAN_RETURN_IF_ERROR(ValidateRanges(spec));
  CARAVAN_RETURN_IF_ERROR(ValidateFit(spec));
  CARAVAN_RETURN_IF_ERROR(ValidateRope(spec));
  CARAVAN_RETURN_IF_ERROR(ValidateStored(spec));
  return ValidateTokens(spec);
}

int64_t CountParameters(const ModelSpec& spec) {
  // By layer instead of by ExpectedTensors(): no string is made.
  const int64_t attention = 2 * spec.hidden_size * spec.head_dim *
                            (spec.num_heads + spec.num_kv_heads);
  const int64_t mlp = 3 * spec.hidden_size * spec.intermediate_size;
  const int64_t norms = 2 * spec.hidden_size;
  const int64_t vocabularies = spec.tied_embeddings ? 1 : 2;
  return spec.num_layers * (attention + mlp + norms) + spec.hidden_size +
         vocabularies * spec.vocab_size * spec.hidden_size;
}

}  // namespace caravan::partition
