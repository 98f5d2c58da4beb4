// Answers of a server, streamed.
#ifndef CARAVAN_CLI_ANSWERS_H_
#define CARAVAN_CLI_ANSWERS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cli/http_client.h"

namespace caravan::cli {

// What is not set is the server's choice.
struct AnswerOptions {
  std::string model;  // empty: the server's first
  std::optional<int64_t> max_tokens;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> seed;
};

struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

using OnText = std::function<void(absl::string_view text)>;

// Each piece of the answer goes to `on_text` as it comes. Errors: HttpClient's,
// and those that the server sends in the stream.
absl::Status StreamCompletion(const HttpClient& client,
                              const AnswerOptions& options,
                              absl::string_view prompt, const OnText& on_text);
absl::Status StreamChat(const HttpClient& client, const AnswerOptions& options,
                        absl::Span<const Message> messages,
                        const OnText& on_text);

// `text` as a terminal may show it: control characters but line breaks and tabs
// are left out, so that an answer cannot drive the terminal.
std::string ForTerminal(absl::string_view text);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_ANSWERS_H_
