// JSON as text.
#ifndef CARAVAN_COORDINATOR_API_JSON_OUTPUT_H_
#define CARAVAN_COORDINATOR_API_JSON_OUTPUT_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace caravan::coordinator {

// On one line. Invalid UTF-8 in strings becomes U+FFFD, so that this never
// fails.
std::string ToText(const nlohmann::json& value);
std::string ToText(const nlohmann::ordered_json& value);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_JSON_OUTPUT_H_
