// A Hugging Face folder: config.json and safetensors, in one file or sharded.
#ifndef CARAVAN_PARTITION_MODEL_HF_SOURCE_H_
#define CARAVAN_PARTITION_MODEL_HF_SOURCE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/model_source.h"

namespace caravan::partition {

// Tensors are delivered in the type that the file has, whatever config.json
// says; spec().dtype is the type of most of them. As OpenModel.
absl::StatusOr<std::unique_ptr<ModelSource>> OpenHfSource(
    absl::string_view folder, absl::string_view config_overrides = "");

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_HF_SOURCE_H_
