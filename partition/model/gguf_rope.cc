#include "partition/model/gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "partition/model/gguf_spec.h"

namespace caravan::partition {
namespace {

constexpr char kType[] = "llama.rope.scaling.type";
constexpr char kFactor[] = "llama.rope.scaling.factor";
constexpr char kOldLinear[] = "llama.rope.scale_linear";
constexpr char kOriginal[] = "llama.rope.scaling.original_context_length";
constexpr char kAttentionFactor[] = "llama.rope.scaling.attn_factor";
constexpr int64_t kLlama3OriginalPositions = 8192;
// Files hold float32.
constexpr double kTolerance = 1e-4;

absl::Status ReadLinear(const GgufFile& file, absl::string_view factor_key,
                        ModelSpec& spec) {
  if (!file.Has(factor_key)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": no metadata key \"", factor_key, "\""));
  }
  CARAVAN_ASSIGN_OR_RETURN(spec.rope.factor, file.Float(factor_key));
  if (spec.rope.factor == 1.0) return absl::OkStatus();
  spec.rope.scaling = RopeScaling::kLinear;
  // With the original context told apart, context_length is the stretched one.
  if (file.Has(kOriginal)) return absl::OkStatus();
  const double stretched =
      static_cast<double>(spec.max_positions) * spec.rope.factor;
  if (!(stretched >= 1.0 && stretched < 0x1p31)) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": llama.context_length ", spec.max_positions, " times ",
        factor_key, " ", spec.rope.factor, " is out of range"));
  }
  spec.max_positions = static_cast<int64_t>(stretched);
  return absl::OkStatus();
}

// Multiplies queries and keys, whatever the type of scaling.
absl::Status RefuseAttentionFactor(const GgufFile& file) {
  if (!file.Has(kAttentionFactor)) return absl::OkStatus();
  CARAVAN_ASSIGN_OR_RETURN(const double factor, file.Float(kAttentionFactor));
  if (factor == 1.0) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(file.path(), ": ",
                                               kAttentionFactor, " ", factor,
                                               " is not supported; 1 is"));
}

absl::Status ReadScaling(const GgufFile& file, ModelSpec& spec) {
  CARAVAN_RETURN_IF_ERROR(RefuseAttentionFactor(file));
  if (!file.Has(kType)) {
    return file.Has(kOldLinear) ? ReadLinear(file, kOldLinear, spec)
                                : absl::OkStatus();
  }
  CARAVAN_ASSIGN_OR_RETURN(const absl::string_view type, file.String(kType));
  if (type == "none") return absl::OkStatus();
  if (type == "linear") return ReadLinear(file, kFactor, spec);
  return absl::UnimplementedError(
      absl::StrCat(file.path(), ": ", kType, " \"", absl::CHexEscape(type),
                   "\" is not supported; none and linear are"));
}

absl::Status ReadDivisors(const GgufFile& file, const GgufTensor& tensor,
                          ModelSpec& spec) {
  const std::string label =
      absl::StrCat(file.path(), ": tensor \"", tensor.name, "\"");
  const int64_t count = spec.head_dim / 2;
  if (tensor.format != WeightFormat::kFloat32 || tensor.rows != 1 ||
      tensor.cols != count) {
    return absl::InvalidArgumentError(
        absl::StrCat(label, " must hold ", count, " F32 values"));
  }
  if (spec.rope.scaling != RopeScaling::kNone) {
    return absl::UnimplementedError(
        absl::StrCat(label, " together with ", kType, " is not supported"));
  }
  std::vector<float> divisors(static_cast<size_t>(count));
  CARAVAN_RETURN_IF_ERROR(
      Annotate(file.file().Read(
                   tensor.offset,
                   absl::MakeSpan(reinterpret_cast<std::byte*>(divisors.data()),
                                  static_cast<size_t>(tensor.bytes))),
               label));
  int64_t original = kLlama3OriginalPositions;
  if (file.Has(kOriginal)) {
    CARAVAN_ASSIGN_OR_RETURN(original, file.Integer(kOriginal));
  }
  absl::StatusOr<RopeSpec> rope =
      InferLlama3(divisors, spec.rope.theta, original);
  if (!rope.ok()) return Annotate(rope.status(), label);
  spec.rope = *rope;
  return absl::OkStatus();
}

}  // namespace

std::vector<double> Llama3Divisors(const RopeSpec& rope, int64_t head_dim) {
  const double original = static_cast<double>(rope.original_max_positions);
  const double low_wavelength = original / rope.low_frequency_factor;
  const double high_wavelength = original / rope.high_frequency_factor;
  std::vector<double> divisors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double frequency = std::pow(
        rope.theta, -static_cast<double>(i) / static_cast<double>(head_dim));
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    if (wavelength < high_wavelength) {
      divisors.push_back(1.0);
    } else if (wavelength > low_wavelength) {
      divisors.push_back(rope.factor);
    } else {
      const double smooth =
          (original / wavelength - rope.low_frequency_factor) /
          (rope.high_frequency_factor - rope.low_frequency_factor);
      divisors.push_back(1.0 / ((1.0 - smooth) / rope.factor + smooth));
    }
  }
  return divisors;
}

absl::StatusOr<RopeSpec> InferLlama3(absl::Span<const float> divisors,
                                     double theta,
                                     int64_t original_max_positions) {
  RopeSpec rope;
  rope.theta = theta;
  for (float divisor : divisors) {
    if (!(std::isfinite(divisor) && divisor >= 1.0f)) {
      return absl::UnimplementedError(absl::StrCat(
          "a divisor of RoPE frequencies must be at least 1, is ", divisor));
    }
    rope.factor = std::max(rope.factor, static_cast<double>(divisor));
  }
  if (rope.factor == 1.0) return rope;
  rope.scaling = RopeScaling::kLlama3;
  rope.original_max_positions = original_max_positions;
  const std::vector<double> expected =
      Llama3Divisors(rope, 2 * static_cast<int64_t>(divisors.size()));
  for (size_t i = 0; i < divisors.size(); ++i) {
    if (std::abs(divisors[i] - expected[i]) > kTolerance * expected[i]) {
      return absl::UnimplementedError(absl::StrCat(
          "divisor ", i, " of RoPE frequencies is ", divisors[i],
          "; only Llama 3's scaling is supported, where it is ", expected[i]));
    }
  }
  return rope;
}

absl::Status ReadGgufRope(const GgufFile& file, ModelSpec& spec) {
  if (file.Has("llama.rope.freq_base")) {
    CARAVAN_ASSIGN_OR_RETURN(spec.rope.theta,
                             file.Float("llama.rope.freq_base"));
  }
  if (file.Has("llama.rope.dimension_count")) {
    CARAVAN_ASSIGN_OR_RETURN(const int64_t dimensions,
                             file.Integer("llama.rope.dimension_count"));
    if (dimensions != spec.head_dim) {
      return absl::UnimplementedError(absl::StrCat(
          file.path(), ": llama.rope.dimension_count ", dimensions,
          " is not supported; the head's whole ", spec.head_dim, " is"));
    }
  }
  CARAVAN_RETURN_IF_ERROR(ReadScaling(file, spec));
  const GgufTensor* divisors = file.FindTensor(kGgufRopeFactors);
  if (divisors == nullptr) return absl::OkStatus();
  return ReadDivisors(file, *divisors, spec);
}

}  // namespace caravan::partition
