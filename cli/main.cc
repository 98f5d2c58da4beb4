// `caravan`: the one program of users. Each subcommand is a file beside this
// one, which adds itself to the parser and leaves its exit code; usage errors
// exit with CLI11's codes (above 100).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/version.h"
#include "cli/agent.h"
#include "cli/arguments.h"
#include "cli/bench.h"
#include "cli/chat.h"
#include "cli/plan.h"
#include "cli/relay.h"
#include "cli/run.h"
#include "cli/serve.h"
#include "cli/status.h"
#include "cli/version.h"

namespace caravan::cli {
namespace {

constexpr char kExamples[] = R"(Examples:
  caravan chat ./SmolLM2-135M-Instruct.Q4_1.gguf
      Talk with a model on this terminal.
  caravan serve ./SmolLM2-135M-Instruct.Q4_1.gguf -tp 2 -pp 2
      Serve a model with four engines on this machine.
  caravan plan llama-2-70b -tp 4 -pp 2 --device-memory 24GiB
      Show how a model would be laid over eight devices, and whether it fits.
`caravan COMMAND --help` tells more about each command.)";

int Main(int argc, char** argv) {
  // Before anything is parsed: its arguments are another program's.
  if (IsRelayCommand(argc, argv)) return RunRelay(argc, argv);
  int exit_code = 0;
  CLI::App app("Caravan serves Llama models on a cluster of ordinary machines.",
               "caravan");
  app.footer(kExamples);
  app.set_version_flag("--version", "caravan " + std::string(BuildId()));
  app.require_subcommand(1);
  AddAgentCommand(app, exit_code);
  AddBenchCommand(app, exit_code);
  AddChatCommand(app, exit_code);
  AddPlanCommand(app, exit_code);
  AddRunCommand(app, exit_code);
  AddServeCommand(app, exit_code);
  AddStatusCommand(app, exit_code);
  AddVersionCommand(app, exit_code);

  if (argc <= 1) {
    std::fputs(app.help().c_str(), stderr);
    return 1;
  }
  std::vector<std::string> arguments = ExpandShortFlags(
      absl::MakeConstSpan(argv + std::min(argc, 1), std::max(argc - 1, 0)));
  // CLI11 takes them from the back.
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "caravan: %s\n", error.what());
    return 1;
  }
  return exit_code;
}

}  // namespace
}  // namespace caravan::cli

int main(int argc, char** argv) { return caravan::cli::Main(argc, argv); }
