#include "cli/server_choice.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/load_progress.h"

namespace caravan::cli {
namespace {

bool IsInterrupted(const Interrupt& interrupt) {
  pollfd wait = {.fd = interrupt.fd(), .events = POLLIN};
  return poll(&wait, 1, 0) > 0;
}

absl::Status AwaitReady(LocalServer& server, const Interrupt& interrupt) {
  LoadProgress progress(isatty(STDERR_FILENO) != 0);
  for (;;) {
    const absl::Status status =
        server.WaitUntilReady(absl::Now() + absl::Milliseconds(50));
    const bool is_over = !absl::IsDeadlineExceeded(status);
    const bool is_interrupted = IsInterrupted(interrupt);
    if (is_over || is_interrupted) progress.Finish();
    if (is_over) return status;
    if (is_interrupted) return absl::CancelledError("interrupted");
    progress.Show(server.View());
  }
}

absl::StatusOr<std::unique_ptr<LocalServer>> StartServer(
    ServeOptions options, const Interrupt& interrupt) {
  // The terminal is the answer's.
  InitializeLog("coordinator", LogLevel::kError);
  options.quiet = true;
  options.port = 0;
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<LocalServer> server,
                           StartLocalServer(std::move(options)));
  CARAVAN_RETURN_IF_ERROR(AwaitReady(*server, interrupt));
  return server;
}

}  // namespace

void AddServerChoice(CLI::App& command, ServerChoice& choice) {
  AddModelOptions(command, choice.serve);
  command.get_option("model")->required(false);
  command
      .add_option("--url", choice.url,
                  "Talk to the server at http://HOST:PORT instead of starting "
                  "one")
      ->type_name("URL");
  command.add_option("--api-key", choice.api_key, "Its key, if it wants one")
      ->type_name("KEY")
      ->envname("CARAVAN_API_KEY");
  command
      .add_option("--model-name", choice.answer.model,
                  "The model's name there; left out: its first")
      ->type_name("NAME");
}

void AddAnswerOptions(CLI::App& command, ServerChoice& choice) {
  // Here it is the answer's, not that of dummy weights.
  command.remove_option(command.get_option("--seed"));
  command
      .add_option("--max-tokens", choice.answer.max_tokens,
                  "Longest answer, in tokens")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--temperature", choice.answer.temperature,
                  "0: always the likeliest token; 1: the model's own odds")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--top-p", choice.answer.top_p,
                     "Choose among the likeliest tokens of this total "
                     "probability");
  command.add_option("--seed", choice.answer.seed,
                     "The same seed gives the same answer");
}

absl::StatusOr<ConnectedServer> ConnectServer(const ServerChoice& choice,
                                              const Interrupt& interrupt) {
  signal(SIGPIPE, SIG_IGN);
  ConnectedServer connected;
  HttpClient::Options options;
  options.interrupt_fd = interrupt.fd();
  std::string url = choice.url;
  if (url.empty()) {
    CARAVAN_ASSIGN_OR_RETURN(connected.server,
                             StartServer(choice.serve, interrupt));
    url = connected.server->url();
  } else {
    options.api_key = choice.api_key;
  }
  CARAVAN_ASSIGN_OR_RETURN(options.server, ParseServerUrl(url));
  connected.client = std::make_unique<HttpClient>(std::move(options));
  return connected;
}

int ExitCodeOf(const absl::Status& status, const char* command) {
  constexpr int kInterrupted = 130;
  if (status.ok()) return 0;
  if (absl::IsCancelled(status)) return kInterrupted;
  std::fprintf(stderr, "%s: %s\n", command,
               std::string(status.message()).c_str());
  return 1;
}

void WriteToTerminal(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace caravan::cli
