// The header of a safetensors file, checked whole.
//
// Format: https://github.com/huggingface/safetensors, README: eight bytes of
// header length, a JSON object, tensor data.
#ifndef CARAVAN_PARTITION_MODEL_SAFETENSORS_HEADER_H_
#define CARAVAN_PARTITION_MODEL_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/model/file.h"
#include "partition/model/model_source.h"

namespace caravan::partition {

struct SafetensorsTensor {
  std::string name;
  TensorInfo info;
  int64_t offset = 0;  // in the file
  int64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsTensor> tensors;  // in the file's order
  std::string text;                        // the JSON as it is
};

// kInvalidArgument: malformed; kDataLoss: the file ends early; kUnimplemented:
// an element type or a number of dimensions that no Llama has. Errors name the
// tensor, not the file.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(
    const RandomAccessFile& file);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_SAFETENSORS_HEADER_H_
