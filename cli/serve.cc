#include "cli/serve.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "cli/load_progress.h"
#include "cli/local_server.h"
#include "cli/serve_options.h"

namespace caravan::cli {
namespace {

constexpr char kExamples[] = R"(Examples:
  caravan serve ./SmolLM2-135M-Instruct.Q4_1.gguf
      One engine on this machine; OpenAI's API at http://127.0.0.1:8000/v1.
  caravan serve ./my-model -tp 2 -pp 2
      Four engines on this machine.
  caravan serve ./my-model -pp 4 --nodes 4 --listen 10.0.0.1:7000 --insecure
      Waits for the agents of four machines, each started with
      caravan agent --join 10.0.0.1:7000 --token-file token --insecure
  caravan serve ./my-model --host 0.0.0.0 --api-key SECRET
      Lets other machines in that know the key.

Ctrl-C or SIGTERM ends the server, its engines and its agents.)";

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  return signals;
}

// Whether one of them came within `timeout`.
bool StopRequested(absl::Duration timeout) {
  const sigset_t signals = StopSignals();
  const timespec wait = absl::ToTimespec(timeout);
  return sigtimedwait(&signals, nullptr, &wait) > 0;
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "caravan serve: %s\n",
               std::string(status.message()).c_str());
  return 1;
}

void TellHowToJoin(const ServeOptions& options, const LocalServer& server) {
  if (options.nodes == 0) return;
  std::fprintf(stderr,
               "Waiting for %d agents. On each machine, with a copy of the "
               "file %s:\n  caravan agent --join %s --token-file FILE%s\n",
               options.nodes, server.token_file().c_str(),
               server.agent_address().c_str(),
               options.insecure ? " --insecure" : "");
}

// Whether it is ready; false when it was asked to stop.
absl::StatusOr<bool> AwaitReady(LocalServer& server) {
  LoadProgress progress(isatty(STDERR_FILENO) != 0);
  while (true) {
    const absl::Status status = server.WaitUntilReady(absl::Now());
    if (status.ok() || !absl::IsDeadlineExceeded(status)) {
      progress.Finish();
      if (!status.ok()) return status;
      return true;
    }
    progress.Show(server.View());
    if (StopRequested(absl::Milliseconds(100))) {
      progress.Finish();
      return false;
    }
  }
}

int Serve(const ServeOptions& options) {
  InitializeLog("coordinator",
                options.verbose ? LogLevel::kDebug : LogLevel::kInfo,
                /*replaces_last_line=*/true);
  // Before any thread is started, so that all have them blocked.
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const absl::Time began = absl::Now();
  absl::StatusOr<std::unique_ptr<LocalServer>> started =
      StartLocalServer(options);
  if (!started.ok()) return Fail(started.status());
  LocalServer& server = **started;
  TellHowToJoin(options, server);
  const absl::StatusOr<bool> ready = AwaitReady(server);
  if (!ready.ok()) {
    server.Shutdown(absl::ZeroDuration());
    return Fail(ready.status());
  }
  if (*ready) {
    std::fprintf(stderr,
                 "Caravan is ready: %s/v1 (model %s, tp %d x pp %d, %d "
                 "engines, %.1f s)\n",
                 server.url().c_str(), server.model_name().c_str(), options.tp,
                 options.pp, options.tp * options.pp,
                 absl::ToDoubleSeconds(absl::Now() - began));
    int signal = 0;
    sigwait(&signals, &signal);
  }
  LogInfo("shutting down");
  server.Shutdown(absl::Seconds(options.shutdown_timeout_seconds));
  return 0;
}

void AddServerOptions(CLI::App& command, ServeOptions& options) {
  command.add_option("--served-model-name", options.served_model_names,
                     "Names for the model in requests (default: its file's or "
                     "folder's name)");
  command.add_option("--host", options.host, "Address for HTTP")
      ->capture_default_str();
  command.add_option("--port", options.port, "Port for HTTP; 0: any free one")
      ->capture_default_str();
  command.add_option("--api-key", options.api_keys,
                     "Key that clients must send; may be given several times");
  command
      .add_option("--nodes", options.nodes,
                  "Machines to wait for, each with an agent (default: this "
                  "one alone)")
      ->check(CLI::Range(1, 4096));
  command.add_option("--listen", options.listen,
                     "ADDRESS:PORT where agents find this coordinator");
  command.add_option("--token-file", options.token_file,
                     "File with the secret that agents must show (default: a "
                     "new one is made)");
  command.add_flag("--insecure", options.insecure,
                   "Allow clear text to and from other machines");
  command
      .add_option("--shutdown-timeout", options.shutdown_timeout_seconds,
                  "Seconds that requests under way are given at the end")
      ->capture_default_str();
  command
      .add_option("--stall-timeout", options.stall_timeout_seconds,
                  "Seconds without progress after which engines are taken for "
                  "lost; slow steps are given ten times their usual time")
      ->capture_default_str();
  command.add_flag("--verbose", options.verbose,
                   "Log more, and show what this machine's agent and engines "
                   "log besides warnings and errors");
}

}  // namespace

void AddServeCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "serve", "Serve a model on this machine or on a cluster");
  command->footer(kExamples);
  auto options = std::make_shared<ServeOptions>();
  AddModelOptions(*command, *options);
  AddServerOptions(*command, *options);
  command->callback([options, &exit_code] { exit_code = Serve(*options); });
}

}  // namespace caravan::cli
