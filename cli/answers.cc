#include "cli/answers.h"

#include <exception>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace caravan::cli {
namespace {

using nlohmann::json;

json MakeBody(const AnswerOptions& options) {
  json body = {{"stream", true}};
  if (!options.model.empty()) body["model"] = options.model;
  if (options.max_tokens.has_value()) body["max_tokens"] = *options.max_tokens;
  if (options.temperature.has_value()) {
    body["temperature"] = *options.temperature;
  }
  if (options.top_p.has_value()) body["top_p"] = *options.top_p;
  if (options.seed.has_value()) body["seed"] = *options.seed;
  return body;
}

// The text of a choice, of either form of answer.
std::string TextOf(const json& choice) {
  if (choice.contains("text")) return choice["text"].get<std::string>();
  const json delta = choice.value("delta", json::object());
  if (!delta.contains("content") || !delta["content"].is_string()) return "";
  return delta["content"].get<std::string>();
}

absl::Status HandleEvent(absl::string_view data, const OnText& on_text) {
  try {
    const json event = json::parse(data.begin(), data.end());
    if (event.contains("error")) {
      return absl::UnavailableError(
          event["error"].value("message", "the server gave no reason"));
    }
    for (const json& choice : event.value("choices", json::array())) {
      const std::string text = TextOf(choice);
      if (!text.empty()) on_text(text);
    }
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(
        "the server sent no such event as expected: ", error.what()));
  }
  return absl::OkStatus();
}

absl::Status Stream(const HttpClient& client, absl::string_view path,
                    const json& body, const OnText& on_text) {
  // Invalid UTF-8 in what was typed is replaced.
  const std::string text =
      body.dump(-1, ' ', false, json::error_handler_t::replace);
  return client.PostForEvents(path, text, [&](absl::string_view data) {
    return HandleEvent(data, on_text);
  });
}

}  // namespace

absl::Status StreamCompletion(const HttpClient& client,
                              const AnswerOptions& options,
                              absl::string_view prompt, const OnText& on_text) {
  json body = MakeBody(options);
  body["prompt"] = std::string(prompt);
  return Stream(client, "/v1/completions", body, on_text);
}

absl::Status StreamChat(const HttpClient& client, const AnswerOptions& options,
                        absl::Span<const Message> messages,
                        const OnText& on_text) {
  json body = MakeBody(options);
  body["messages"] = json::array();
  for (const Message& message : messages) {
    body["messages"].push_back(
        {{"role", message.role}, {"content", message.content}});
  }
  return Stream(client, "/v1/chat/completions", body, on_text);
}

std::string ForTerminal(absl::string_view text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_c1 = byte == 0xc2 && i + 1 < text.size() &&
                       static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (is_c1) {
      ++i;  // U+0080 to U+009F: control characters too
    } else if ((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t') {
      shown.push_back(text[i]);
    }
  }
  return shown;
}

}  // namespace caravan::cli
