// The two subcommands of `caravan` that run on every node, alone: for tests
// that start agents as processes.
#include <CLI/CLI.hpp>

#include "cli/agent.h"
#include "cli/relay.h"

int main(int argc, char** argv) {
  if (caravan::cli::IsRelayCommand(argc, argv)) {
    return caravan::cli::RunRelay(argc, argv);
  }
  CLI::App app("agent of the tests");
  app.require_subcommand(1);
  int exit_code = 0;
  caravan::cli::AddAgentCommand(app, exit_code);
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
