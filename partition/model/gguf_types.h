// The tensor types of GGUF files that Caravan reads.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_TYPES_H_
#define CARAVAN_PARTITION_MODEL_GGUF_TYPES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace caravan::partition {

enum class GgufTensorType { kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ8_0 };

// A row is made of blocks: `block_elements` values in `block_bytes` bytes.
struct GgufTypeFacts {
  absl::string_view name;  // "Q4_0"
  int64_t block_elements;
  int64_t block_bytes;
  DType delivered;  // kFloat32 for quantized ones
};
const GgufTypeFacts& Facts(GgufTensorType type);

// By ggml's number. kUnimplemented: a type that is known but not read, by name;
// kInvalidArgument: no such type.
absl::StatusOr<GgufTensorType> GgufTensorTypeFromNumber(uint32_t number);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_TYPES_H_
