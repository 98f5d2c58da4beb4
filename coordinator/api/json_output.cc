#include "coordinator/api/json_output.h"

#include <nlohmann/json.hpp>

namespace caravan::coordinator {

std::string ToText(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string ToText(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false,
                    nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace caravan::coordinator
