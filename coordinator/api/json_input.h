// Reads a request's body as JSON, within limits.
#ifndef CARAVAN_COORDINATOR_API_JSON_INPUT_H_
#define CARAVAN_COORDINATOR_API_JSON_INPUT_H_

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/api/limits.h"

namespace caravan::coordinator {

// The object that `text` spells. kInvalidArgument, by the byte and the field
// where it stands: not JSON (NaN, comments and trailing text are not), not an
// object, not UTF-8, a number beyond a double's range, a key given twice, or
// beyond `limits`. Limits are checked while reading: what is beyond them is
// never stored.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text,
                                               const ApiLimits& limits);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_JSON_INPUT_H_
