#include "partition/model/gguf_types.h"

#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace caravan::partition {
namespace {

// enum ggml_type of ggml.h, in its order; empty: a number that was given up.
constexpr std::array<absl::string_view, 41> kNames = {
    "F32",        "F16",        "Q4_0",       "Q4_1",     "Q4_2",    "Q4_3",
    "Q5_0",       "Q5_1",       "Q8_0",       "Q8_1",     "Q2_K",    "Q3_K",
    "Q4_K",       "Q5_K",       "Q6_K",       "Q8_K",     "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS",    "IQ1_S",      "IQ4_NL",     "IQ3_S",    "IQ2_S",   "IQ4_XS",
    "I8",         "I16",        "I32",        "I64",      "F64",     "IQ1_M",
    "BF16",       "Q4_0_4_4",   "Q4_0_4_8",   "Q4_0_8_8", "TQ1_0",   "TQ2_0",
    "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",    "NVFP4"};

}  // namespace

absl::string_view GgufTypeName(WeightFormat format) {
  switch (format) {
    case WeightFormat::kFloat32:
      return "F32";
    case WeightFormat::kFloat16:
      return "F16";
    case WeightFormat::kBFloat16:
      return "BF16";
    case WeightFormat::kQ8:
      return "Q8_0";
    case WeightFormat::kQ4:
      return "Q4_0";
    case WeightFormat::kQ4Minimum:
      return "Q4_1";
  }
  return "unknown";
}

absl::StatusOr<WeightFormat> FormatFromGgufNumber(uint32_t number) {
  for (int i = 0; i < kNumWeightFormats; ++i) {
    const auto format = static_cast<WeightFormat>(i);
    if (number < kNames.size() && kNames[number] == GgufTypeName(format)) {
      return format;
    }
  }
  if (number < kNames.size()) {
    return absl::UnimplementedError(
        absl::StrCat("tensor type ", kNames[number],
                     " is not supported; F32, F16, BF16, Q4_0, Q4_1 and Q8_0 "
                     "are"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no tensor type has the number ", number));
}

}  // namespace caravan::partition
