// Shapes that are known by name, so that nothing need be there.
#ifndef CARAVAN_PARTITION_MODEL_NAMED_MODELS_H_
#define CARAVAN_PARTITION_MODEL_NAMED_MODELS_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// Of "llama-2-7b", "llama-2-13b" and "llama-2-70b". `overrides` as
// OverrideHfConfig has them. kNotFound lists the names.
absl::StatusOr<ModelSpec> NamedModelSpec(absl::string_view name,
                                         absl::string_view overrides = "");

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_NAMED_MODELS_H_
