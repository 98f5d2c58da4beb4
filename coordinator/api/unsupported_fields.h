// Fields that would change the answer and are not supported yet.
#ifndef CARAVAN_COORDINATOR_API_UNSUPPORTED_FIELDS_H_
#define CARAVAN_COORDINATOR_API_UNSUPPORTED_FIELDS_H_

#include <nlohmann/json_fwd.hpp>

#include "absl/status/status.h"

namespace caravan::coordinator {

// kInvalidArgument by name when one of them has a value that means something;
// neutral values pass. Fields that nobody knows are none of its business.
absl::Status RefuseUnsupportedFields(const nlohmann::json& body);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_UNSUPPORTED_FIELDS_H_
