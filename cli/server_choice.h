// Which server `caravan run`, `caravan chat` and `caravan bench` talk to, and
// what else they have in common.
#ifndef CARAVAN_CLI_SERVER_CHOICE_H_
#define CARAVAN_CLI_SERVER_CHOICE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/answers.h"
#include "cli/http_client.h"
#include "cli/interrupt.h"
#include "cli/local_server.h"
#include "cli/serve_options.h"

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

struct ServerChoice {
  std::string url;      // of a running server; empty: start one
  std::string api_key;  // of that server
  ServeOptions serve;   // of the one that is started
  AnswerOptions answer;
};

// Adds MODEL, which is not required, and the flags that say how it is served
// and which server is talked to instead. `choice` outlives `command`.
void AddServerChoice(CLI::App& command, ServerChoice& choice);
// After that: the flags that say how answers are chosen.
void AddAnswerOptions(CLI::App& command, ServerChoice& choice);

// A client of the chosen server, and the server if it was started, which ends
// with this.
struct ConnectedServer {
  std::unique_ptr<LocalServer> server;  // null: it was running
  std::unique_ptr<HttpClient> client;
};

// Blocks until the server is ready, showing its start on standard error.
// kCancelled: interrupted.
absl::StatusOr<ConnectedServer> ConnectServer(const ServerChoice& choice,
                                              const Interrupt& interrupt);

// Prints an error, with the command's name; 130 for an interrupt, as shells
// have it.
int ExitCodeOf(const absl::Status& status, const char* command);

void WriteToTerminal(absl::string_view text);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_SERVER_CHOICE_H_
