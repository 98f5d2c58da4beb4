// Hugging Face's config.json, in its spelling before and since transformers 5.
#ifndef CARAVAN_PARTITION_MODEL_HF_CONFIG_H_
#define CARAVAN_PARTITION_MODEL_HF_CONFIG_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// A valid spec. What is absent has transformers' default. kInvalidArgument: a
// field is missing, of a wrong type or out of range; kUnimplemented: a field
// asks for arithmetic that is not built. Both name the field, not the file.
absl::StatusOr<ModelSpec> ParseHfConfig(absl::string_view text);

// `text` with the fields of the JSON object `overrides` instead of its own, as
// vLLM's --hf-overrides has it; `text` as it is when `overrides` is empty.
// kInvalidArgument: not an object, or a field that does not say the model's
// shape; names --hf-overrides.
absl::StatusOr<std::string> OverrideHfConfig(absl::string_view text,
                                             absl::string_view overrides);

// Adds the end tokens of generation_config.json: a chat model often ends its
// turns with another token than its texts.
absl::Status MergeGenerationConfig(absl::string_view text, ModelSpec& spec);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_HF_CONFIG_H_
