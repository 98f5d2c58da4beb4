#include "cli/timed_completion.h"

#include <chrono>
#include <exception>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::cli {
namespace {

using nlohmann::json;

absl::Duration SteadyNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

std::string BodyOf(const TimedCompletionRequest& request) {
  json body = {{"prompt", request.prompt}, {"max_tokens", request.num_tokens},
               {"temperature", 0},         {"ignore_eos", true},
               {"stream", true},           {"return_token_ids", true}};
  if (!request.model.empty()) body["model"] = request.model;
  return body.dump();
}

// Servers that do not know return_token_ids send an event for each token.
size_t CountTokens(const json& choice) {
  if (choice.contains("token_ids")) return choice["token_ids"].size();
  return choice.value("text", "").empty() ? 0 : 1;
}

absl::Status AddEvent(absl::string_view data, TokenTimes* times) {
  const absl::Duration now = SteadyNow();
  try {
    const json event = json::parse(data.begin(), data.end());
    if (event.contains("error")) {
      return absl::UnavailableError(
          event["error"].value("message", "the server gave no reason"));
    }
    for (const json& choice : event.value("choices", json::array())) {
      times->tokens.insert(times->tokens.end(), CountTokens(choice), now);
    }
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(
        "the server sent no such event as expected: ", error.what()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenTimes> TimeCompletion(
    const HttpClient& client, const TimedCompletionRequest& request) {
  const std::string body = BodyOf(request);
  TokenTimes times;
  times.tokens.reserve(static_cast<size_t>(request.num_tokens));
  times.sent = SteadyNow();
  CARAVAN_RETURN_IF_ERROR(client.PostForEvents(
      "/v1/completions", body,
      [&](absl::string_view data) { return AddEvent(data, &times); }));
  if (static_cast<int64_t>(times.tokens.size()) != request.num_tokens) {
    return absl::InternalError(absl::StrCat("the server sent ",
                                            times.tokens.size(), " tokens of ",
                                            request.num_tokens));
  }
  return times;
}

}  // namespace caravan::cli
