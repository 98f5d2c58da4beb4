// POST /v1/chat/completions, as sent.
#ifndef CARAVAN_COORDINATOR_API_CHAT_REQUEST_H_
#define CARAVAN_COORDINATOR_API_CHAT_REQUEST_H_

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/api/generation_parameters.h"
#include "coordinator/api/limits.h"
#include "coordinator/text/chat_template.h"

namespace caravan::coordinator {

struct ChatRequest {
  GenerationParameters parameters;
  std::vector<ChatMessage> messages;  // at least one
  bool add_generation_prompt = true;
};

// kInvalidArgument by the name of the field.
absl::StatusOr<ChatRequest> ParseChatRequest(const nlohmann::json& body,
                                             const ApiLimits& limits);

// The field "messages" alone. Roles are "system" (also spelled "developer"),
// "user" and "assistant"; content is a string or an array of text parts, which
// are joined by line breaks as vLLM does.
absl::StatusOr<std::vector<ChatMessage>> ParseMessages(
    const nlohmann::json& body, const ApiLimits& limits);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_CHAT_REQUEST_H_
