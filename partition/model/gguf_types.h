// The tensor types of GGUF files that Caravan reads.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_TYPES_H_
#define CARAVAN_PARTITION_MODEL_GGUF_TYPES_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/weight_format.h"

namespace caravan::partition {

// As ggml calls it: "BF16", "Q4_0".
absl::string_view GgufTypeName(WeightFormat format);

// By ggml's number. kUnimplemented: a type that is known but not read, by name;
// kInvalidArgument: no such type.
absl::StatusOr<WeightFormat> FormatFromGgufNumber(uint32_t number);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_TYPES_H_
