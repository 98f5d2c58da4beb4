// Element types of tensors in checkpoints and in memory.
#ifndef CARAVAN_BASE_DTYPE_H_
#define CARAVAN_BASE_DTYPE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan {

enum class DType { kFloat32, kFloat16, kBFloat16 };

int64_t ByteSize(DType dtype);        // of one element
absl::string_view Name(DType dtype);  // "float32", "float16", "bfloat16"

// By such a name. kInvalidArgument lists them.
absl::StatusOr<DType> ParseDType(absl::string_view name);

// Exact widening, and narrowing that rounds to nearest even (NaN stays NaN).
float Float16ToFloat(uint16_t bits);
float BFloat16ToFloat(uint16_t bits);
uint16_t FloatToFloat16(float value);
uint16_t FloatToBFloat16(float value);

}  // namespace caravan

#endif  // CARAVAN_BASE_DTYPE_H_
