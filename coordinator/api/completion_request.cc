#include "coordinator/api/completion_request.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/field_reader.h"

namespace caravan::coordinator {
namespace {

using nlohmann::json;

absl::StatusOr<Prompt> ParsePrompt(const json& value) {
  if (value.is_string()) return Prompt(value.get_ref<const std::string&>());
  if (!value.is_array()) {
    return FieldError("prompt",
                      "prompt must be a string, an array of strings, an array "
                      "of token ids or an array of such arrays");
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                           ParseTokenIds(value, "prompt"));
  if (ids.empty()) return FieldError("prompt", "prompt must not be empty");
  return Prompt(std::move(ids));
}

absl::StatusOr<std::vector<Prompt>> ParsePrompts(const FieldReader& fields,
                                                 const ApiLimits& limits) {
  const json* value = fields.Find("prompt");
  if (value == nullptr) return fields.Error("prompt", "is required");
  std::vector<Prompt> prompts;
  const bool is_list =
      value->is_array() && !value->empty() && !value->front().is_number();
  if (!is_list) {
    CARAVAN_ASSIGN_OR_RETURN(Prompt prompt, ParsePrompt(*value));
    prompts.push_back(std::move(prompt));
    return prompts;
  }
  if (static_cast<int64_t>(value->size()) > limits.max_prompts) {
    return fields.Error("prompt",
                        absl::StrCat("has at most ", limits.max_prompts,
                                     " prompts, got ", value->size()));
  }
  for (const json& element : *value) {
    CARAVAN_ASSIGN_OR_RETURN(Prompt prompt, ParsePrompt(element));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

}  // namespace

absl::StatusOr<CompletionRequest> ParseCompletionRequest(
    const json& body, const ApiLimits& limits) {
  const FieldReader fields(body);
  CompletionRequest request;
  CARAVAN_ASSIGN_OR_RETURN(request.parameters,
                           ParseGenerationParameters(body, limits));
  CARAVAN_ASSIGN_OR_RETURN(request.prompts, ParsePrompts(fields, limits));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> echo,
                           fields.Boolean("echo"));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> add_special_tokens,
                           fields.Boolean("add_special_tokens"));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> logprobs,
                           fields.Integer("logprobs", 0, limits.max_logprobs));
  request.echo = echo.value_or(false);
  request.add_special_tokens = add_special_tokens.value_or(true);
  request.parameters.logprobs = static_cast<int>(logprobs.value_or(-1));
  if (!request.parameters.max_tokens.has_value()) {
    request.parameters.max_tokens = 16;
  }
  if (*request.parameters.max_tokens == 0 && !request.echo) {
    return fields.Error("max_tokens", "must be at least 1 without echo");
  }
  return request;
}

}  // namespace caravan::coordinator
