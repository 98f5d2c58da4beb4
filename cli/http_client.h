// A small client of a Caravan server, or of any server that speaks OpenAI's
// API over HTTP.
#ifndef CARAVAN_CLI_HTTP_CLIENT_H_
#define CARAVAN_CLI_HTTP_CLIENT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace caravan::cli {

struct ServerAddress {
  std::string host;
  std::string port;
  std::string prefix;  // of every path, without the last '/'
};

// "http://HOST[:PORT][/PREFIX]". kInvalidArgument: another form;
// kUnimplemented: https.
absl::StatusOr<ServerAddress> ParseServerUrl(absl::string_view url);

// Thread-safe. Each call uses a connection of its own. Errors of the server
// have the code that fits its HTTP status and its own message; kUnavailable:
// nobody listens there, or the connection broke; kDeadlineExceeded: it is
// silent; kCancelled: interrupted.
class HttpClient final {
 public:
  struct Options {
    ServerAddress server;
    std::string api_key;  // empty: none
    absl::Duration connect_deadline = absl::Seconds(10);
    // Of silence, not of the whole answer.
    absl::Duration silence_deadline = absl::Minutes(10);
    // Calls end when this becomes readable; -1: never.
    int interrupt_fd = -1;
    int64_t max_answer_bytes = 64 * 1024 * 1024;
    int64_t max_event_bytes = 1024 * 1024;
  };
  explicit HttpClient(Options options);

  // The answer's body.
  absl::StatusOr<std::string> Get(absl::string_view path) const;

  // Hands the data of each event of the answer to `on_event`, up to "[DONE]",
  // which it does not get. An error of `on_event` ends the call with it.
  absl::Status PostForEvents(
      absl::string_view path, absl::string_view json,
      const std::function<absl::Status(absl::string_view data)>& on_event)
      const;

 private:
  Options options_;
};

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_HTTP_CLIENT_H_
