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

constexpr GgufTypeFacts kF32Facts = {"F32", 1, 4, DType::kFloat32};
constexpr GgufTypeFacts kF16Facts = {"F16", 1, 2, DType::kFloat16};
constexpr GgufTypeFacts kBF16Facts = {"BF16", 1, 2, DType::kBFloat16};
// A float16 scale (and minimum) followed by 32 values of 4 or 8 bits.
constexpr GgufTypeFacts kQ4_0Facts = {"Q4_0", 32, 18, DType::kFloat32};
constexpr GgufTypeFacts kQ4_1Facts = {"Q4_1", 32, 20, DType::kFloat32};
constexpr GgufTypeFacts kQ8_0Facts = {"Q8_0", 32, 34, DType::kFloat32};

}  // namespace

const GgufTypeFacts& Facts(GgufTensorType type) {
  switch (type) {
    case GgufTensorType::kF32:
      return kF32Facts;
    case GgufTensorType::kF16:
      return kF16Facts;
    case GgufTensorType::kBF16:
      return kBF16Facts;
    case GgufTensorType::kQ4_0:
      return kQ4_0Facts;
    case GgufTensorType::kQ4_1:
      return kQ4_1Facts;
    case GgufTensorType::kQ8_0:
      return kQ8_0Facts;
  }
  return kF32Facts;
}

absl::StatusOr<GgufTensorType> GgufTensorTypeFromNumber(uint32_t number) {
  for (GgufTensorType type :
       {GgufTensorType::kF32, GgufTensorType::kF16, GgufTensorType::kBF16,
        GgufTensorType::kQ4_0, GgufTensorType::kQ4_1, GgufTensorType::kQ8_0}) {
    if (number < kNames.size() && kNames[number] == Facts(type).name) {
      return type;
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
