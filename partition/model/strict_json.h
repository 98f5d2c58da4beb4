// JSON as checkpoints hold it, parsed without leniency: parsers differ in what
// they make of a key that occurs twice, and nesting without end would exhaust
// the stack.
#ifndef CARAVAN_PARTITION_MODEL_STRICT_JSON_H_
#define CARAVAN_PARTITION_MODEL_STRICT_JSON_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace caravan::partition {

// One object; `max_depth` counts it (1: no object or array inside).
// kInvalidArgument: not JSON, not UTF-8, not an object, a number that no double
// holds, a key twice in one object, or too deep; says where.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text,
                                               int max_depth);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_STRICT_JSON_H_
