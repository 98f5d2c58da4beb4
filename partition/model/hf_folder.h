// A Hugging Face model folder: its configuration.
#ifndef CARAVAN_PARTITION_MODEL_HF_FOLDER_H_
#define CARAVAN_PARTITION_MODEL_HF_FOLDER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

struct HfConfiguration {
  ModelSpec spec;
  // For the fingerprint: config.json with what overrides it, and
  // generation_config.json.
  std::string text;
  std::string generation_text;  // empty: no such file
};

// From `path`/config.json and, if there is one, generation_config.json beside
// it; `path` may be the config.json itself. `overrides` as OverrideHfConfig has
// them. Errors name the file.
absl::StatusOr<HfConfiguration> ReadHfConfiguration(
    absl::string_view path, absl::string_view overrides = "");

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_HF_FOLDER_H_
