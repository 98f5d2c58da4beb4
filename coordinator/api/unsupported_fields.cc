#include "coordinator/api/unsupported_fields.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/field_reader.h"

namespace caravan::coordinator {
namespace {

using nlohmann::json;

bool IsNumber(const json& value, double number) {
  return value.is_number() && value.get<double>() == number;
}
bool IsZero(const json& value) { return IsNumber(value, 0); }
bool IsOne(const json& value) { return IsNumber(value, 1); }
bool IsFalse(const json& value) { return value == false; }
bool IsEmpty(const json& value) {
  return (value.is_object() || value.is_array() || value.is_string()) &&
         value.empty();
}
bool IsTextFormat(const json& value) {
  return value.is_object() && value.size() == 1 && value.contains("type") &&
         value["type"] == "text";
}
bool IsNoTool(const json& value) { return value == "none" || value == "auto"; }
bool IsTextOnly(const json& value) { return value == json::array({"text"}); }
bool IsNever(const json& value) { return false; }

struct UnsupportedField {
  const char* name;
  bool (*is_neutral)(const json& value);
};

constexpr UnsupportedField kUnsupportedFields[] = {
    {"logit_bias", IsEmpty},
    {"presence_penalty", IsZero},
    {"frequency_penalty", IsZero},
    {"repetition_penalty", IsOne},
    {"length_penalty", IsOne},
    {"min_tokens", IsZero},
    {"bad_words", IsEmpty},
    {"allowed_token_ids", IsNever},
    {"truncate_prompt_tokens", IsNever},
    {"prompt_logprobs", IsNever},
    {"use_beam_search", IsFalse},
    {"suffix", IsEmpty},
    {"prompt_embeds", IsNever},
    {"logits_processors", IsEmpty},
    // Structured output and tools.
    {"response_format", IsTextFormat},
    {"structured_outputs", IsEmpty},
    {"guided_json", IsNever},
    {"guided_regex", IsNever},
    {"guided_choice", IsNever},
    {"guided_grammar", IsNever},
    {"tools", IsEmpty},
    {"tool_choice", IsNoTool},
    {"functions", IsEmpty},
    {"function_call", IsNoTool},
    // A template is compiled in, never taken from a client.
    {"chat_template", IsNever},
    {"chat_template_kwargs", IsEmpty},
    {"continue_final_message", IsFalse},
    {"documents", IsEmpty},
    // More than text.
    {"modalities", IsTextOnly},
    {"audio", IsNever},
};

}  // namespace

absl::Status RefuseUnsupportedFields(const json& body) {
  const FieldReader fields(body);
  for (const UnsupportedField& field : kUnsupportedFields) {
    const json* value = fields.Find(field.name);
    if (value == nullptr || field.is_neutral(*value)) continue;
    return FieldError(field.name,
                      absl::StrCat(field.name, " is not supported yet"),
                      "unsupported_parameter");
  }
  return absl::OkStatus();
}

}  // namespace caravan::coordinator
