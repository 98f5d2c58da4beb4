#include "coordinator/api/chat_request.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/field_reader.h"

namespace caravan::coordinator {
namespace {

using nlohmann::json;

absl::Status AppendPart(const json& part, const FieldReader& message,
                        std::string* content) {
  if (!part.is_object()) {
    return message.Error("content", "parts must be objects");
  }
  const FieldReader fields(part);
  const json* type = fields.Find("type");
  if (type == nullptr || !type->is_string()) {
    return message.Error("content", "parts must have a type");
  }
  if (*type != "text") {
    return message.Error("content",
                         "parts must be of type text: this model takes no "
                         "images, audio or files");
  }
  const json* text = fields.Find("text");
  if (text == nullptr || !text->is_string()) {
    return message.Error("content", "parts of type text must have a text");
  }
  if (!content->empty()) content->push_back('\n');
  content->append(text->get_ref<const std::string&>());
  return absl::OkStatus();
}

absl::StatusOr<std::string> ParseContent(const FieldReader& message) {
  const json* content = message.Find("content");
  if (content == nullptr) return message.Error("content", "is required");
  if (content->is_string()) return content->get_ref<const std::string&>();
  if (!content->is_array()) {
    return message.Error("content", "must be a string or an array of parts");
  }
  std::string text;
  for (const json& part : *content) {
    CARAVAN_RETURN_IF_ERROR(AppendPart(part, message, &text));
  }
  return text;
}

absl::StatusOr<ChatMessage> ParseMessage(const json& value, int index) {
  const std::string name = absl::StrCat("messages[", index, "]");
  if (!value.is_object()) {
    return FieldError(name, absl::StrCat(name, " must be an object"));
  }
  const FieldReader fields(value, absl::StrCat(name, "."));
  CARAVAN_ASSIGN_OR_RETURN(const std::string* const role,
                           fields.String("role"));
  if (role == nullptr) return fields.Error("role", "is required");
  for (const char* unsupported : {"tool_calls", "function_call"}) {
    const json* calls = fields.Find(unsupported);
    if (calls != nullptr && !calls->empty()) {
      return fields.Error(unsupported, "is not supported yet");
    }
  }
  ChatMessage message;
  message.role = *role == "developer" ? "system" : *role;
  if (message.role != "system" && message.role != "user" &&
      message.role != "assistant") {
    return fields.Error("role", "must be system, developer, user or assistant");
  }
  CARAVAN_ASSIGN_OR_RETURN(message.content, ParseContent(fields));
  return message;
}

}  // namespace

absl::StatusOr<std::vector<ChatMessage>> ParseMessages(
    const json& body, const ApiLimits& limits) {
  const FieldReader fields(body);
  const json* list = fields.Find("messages");
  if (list == nullptr) return fields.Error("messages", "is required");
  if (!list->is_array()) return fields.Error("messages", "must be an array");
  if (list->empty()) return fields.Error("messages", "must not be empty");
  if (static_cast<int64_t>(list->size()) > limits.max_messages) {
    return fields.Error("messages",
                        absl::StrCat("has at most ", limits.max_messages,
                                     " messages, got ", list->size()));
  }
  std::vector<ChatMessage> messages;
  for (const json& element : *list) {
    CARAVAN_ASSIGN_OR_RETURN(
        ChatMessage message,
        ParseMessage(element, static_cast<int>(messages.size())));
    messages.push_back(std::move(message));
  }
  return messages;
}

absl::StatusOr<ChatRequest> ParseChatRequest(const json& body,
                                             const ApiLimits& limits) {
  const FieldReader fields(body);
  ChatRequest request;
  CARAVAN_ASSIGN_OR_RETURN(request.parameters,
                           ParseGenerationParameters(body, limits));
  if (request.parameters.max_tokens == 0) {
    return fields.Error("max_tokens", "must be at least 1");
  }
  CARAVAN_ASSIGN_OR_RETURN(request.messages, ParseMessages(body, limits));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> add_generation_prompt,
                           fields.Boolean("add_generation_prompt"));
  request.add_generation_prompt = add_generation_prompt.value_or(true);
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> logprobs,
                           fields.Boolean("logprobs"));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::optional<int64_t> top_logprobs,
      fields.Integer("top_logprobs", 0, limits.max_logprobs));
  if (logprobs.value_or(false)) {
    request.parameters.logprobs = static_cast<int>(top_logprobs.value_or(0));
  } else if (top_logprobs.value_or(0) > 0) {
    return fields.Error("top_logprobs", "needs logprobs to be true");
  }
  return request;
}

}  // namespace caravan::coordinator
