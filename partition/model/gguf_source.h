// A GGUF file as a model: Read decodes quantized tensors to float32, ReadStored
// delivers them as they are.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_SOURCE_H_
#define CARAVAN_PARTITION_MODEL_GGUF_SOURCE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/file.h"
#include "partition/model/model_source.h"

namespace caravan::partition {

// As OpenModel. F16 and BF16 tensors are delivered as they are.
absl::StatusOr<std::unique_ptr<ModelSource>> OpenGgufSource(
    absl::string_view path);
absl::StatusOr<std::unique_ptr<ModelSource>> MakeGgufSource(
    std::unique_ptr<RandomAccessFile> file);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_SOURCE_H_
