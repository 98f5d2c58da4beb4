// POST /v1/completions, as sent.
#ifndef CARAVAN_COORDINATOR_API_COMPLETION_REQUEST_H_
#define CARAVAN_COORDINATOR_API_COMPLETION_REQUEST_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/api/generation_parameters.h"
#include "coordinator/api/limits.h"

namespace caravan::coordinator {

// Text or token ids.
using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  GenerationParameters parameters;
  std::vector<Prompt> prompts;  // at least one
  bool echo = false;
  bool add_special_tokens = true;
};

// kInvalidArgument by the name of the field.
absl::StatusOr<CompletionRequest> ParseCompletionRequest(
    const nlohmann::json& body, const ApiLimits& limits);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_COMPLETION_REQUEST_H_
