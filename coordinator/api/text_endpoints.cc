#include "coordinator/api/text_endpoints.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/api/chat_request.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/field_reader.h"
#include "coordinator/api/generation_parameters.h"
#include "coordinator/api/json_output.h"
#include "coordinator/api/prepared_generation.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

absl::Status CheckModel(const FieldReader& fields, const ServedModel& model) {
  CARAVAN_ASSIGN_OR_RETURN(const std::string* const name,
                           fields.String("model"));
  return name == nullptr ? absl::OkStatus() : model.CheckName(*name);
}

absl::StatusOr<std::vector<int32_t>> EncodeBody(const json& body,
                                                const ServedModel& model,
                                                const ApiLimits& limits) {
  const FieldReader fields(body);
  if (fields.Find("messages") != nullptr) {
    CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> add_generation_prompt,
                             fields.Boolean("add_generation_prompt"));
    CARAVAN_ASSIGN_OR_RETURN(const std::vector<ChatMessage> messages,
                             ParseMessages(body, limits));
    return EncodeMessages(messages, add_generation_prompt.value_or(true),
                          model);
  }
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> add_special_tokens,
                           fields.Boolean("add_special_tokens"));
  CARAVAN_ASSIGN_OR_RETURN(const std::string* const prompt,
                           fields.String("prompt"));
  if (prompt == nullptr) return fields.Error("prompt", "is required");
  return EncodeText(*prompt, add_special_tokens.value_or(true), model);
}

}  // namespace

absl::StatusOr<std::string> Tokenize(const json& body, const ServedModel& model,
                                     const ApiLimits& limits) {
  const FieldReader fields(body);
  CARAVAN_RETURN_IF_ERROR(CheckModel(fields, model));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> return_token_strings,
                           fields.Boolean("return_token_strs"));
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                           EncodeBody(body, model, limits));
  ordered_json response = {{"count", ids.size()},
                           {"max_model_len", model.max_model_len()},
                           {"tokens", ids},
                           {"token_strs", nullptr}};
  if (return_token_strings.value_or(false)) {
    response["token_strs"] = ordered_json::array();
    for (int32_t id : ids) {
      response["token_strs"].push_back(
          ReplaceInvalidUtf8(model.tokenizer->TokenBytes(id)));
    }
  }
  return ToText(response);
}

absl::StatusOr<std::string> Detokenize(const json& body,
                                       const ServedModel& model,
                                       const ApiLimits& limits) {
  const FieldReader fields(body);
  CARAVAN_RETURN_IF_ERROR(CheckModel(fields, model));
  const json* tokens = fields.Find("tokens");
  if (tokens == nullptr) return fields.Error("tokens", "is required");
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                           ParseTokenIds(*tokens, "tokens"));
  if (model.tokenizer == nullptr) {
    return FieldError("tokens",
                      "tokens have no text: the server runs without a "
                      "tokenizer (--skip-tokenizer-init)");
  }
  CARAVAN_RETURN_IF_ERROR(CheckIds("tokens", ids, model.vocab_size));
  return ToText(ordered_json{{"prompt", Decode(*model.tokenizer, ids)}});
}

}  // namespace caravan::coordinator
