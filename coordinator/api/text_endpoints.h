// POST /tokenize and /detokenize, as vLLM has them.
#ifndef CARAVAN_COORDINATOR_API_TEXT_ENDPOINTS_H_
#define CARAVAN_COORDINATOR_API_TEXT_ENDPOINTS_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/api/limits.h"
#include "coordinator/api/served_model.h"

namespace caravan::coordinator {

// The answer's JSON. kInvalidArgument by field; kNotFound: another model.
absl::StatusOr<std::string> Tokenize(const nlohmann::json& body,
                                     const ServedModel& model,
                                     const ApiLimits& limits);
absl::StatusOr<std::string> Detokenize(const nlohmann::json& body,
                                       const ServedModel& model,
                                       const ApiLimits& limits);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_TEXT_ENDPOINTS_H_
