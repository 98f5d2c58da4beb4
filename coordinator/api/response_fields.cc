#include "coordinator/api/response_fields.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace caravan::coordinator {

using nlohmann::ordered_json;

ordered_json ResponseHead(const ResponseIdentity& identity,
                          absl::string_view object) {
  return {{"id", identity.id},
          {"object", std::string(object)},
          {"created", identity.created},
          {"model", identity.model}};
}

void SetEnd(const std::optional<ChoiceEnd>& end, ordered_json* choice) {
  ordered_json reason;
  ordered_json stop;
  if (end.has_value()) {
    reason = end->by_length ? "length" : "stop";
    if (end->stop_token.has_value()) stop = *end->stop_token;
    if (!end->stop_string.empty()) stop = end->stop_string;
  }
  (*choice)["finish_reason"] = std::move(reason);
  (*choice)["stop_reason"] = std::move(stop);
}

ordered_json UsageJson(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

double FiniteLogprob(float logprob) {
  constexpr float kLeast = -9999;
  return std::isnan(logprob) ? kLeast : std::max(logprob, kLeast);
}

std::string ServerSentEvent(const std::string& json) {
  return absl::StrCat("data: ", json, "\n\n");
}

std::string LastServerSentEvent() { return "data: [DONE]\n\n"; }

std::string ServerSentComment() { return ": keep-alive\n\n"; }

}  // namespace caravan::coordinator
