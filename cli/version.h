// `caravan version`: what this program is.
#ifndef CARAVAN_CLI_VERSION_H_
#define CARAVAN_CLI_VERSION_H_

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

// Adds the subcommand to `app`; `exit_code` must outlive it.
void AddVersionCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_VERSION_H_
