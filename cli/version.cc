#include "cli/version.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "base/version.h"

namespace caravan::cli {

void AddVersionCommand(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("version", "Print the version and the build");
  command->footer(
      "All programs of one cluster must be of the same build: agents and "
      "engines of another\nare refused.");
  command->callback([&exit_code] {
    std::printf("caravan %s\n", std::string(BuildId()).c_str());
    exit_code = 0;
  });
}

}  // namespace caravan::cli
