// `caravan serve`: the coordinator.
#ifndef CARAVAN_CLI_SERVE_H_
#define CARAVAN_CLI_SERVE_H_

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

// Adds the subcommand to `app`. When parsing finds it chosen, it serves until
// SIGTERM or SIGINT and leaves the process's exit code in `exit_code`, which
// must outlive `app`. Call it before any thread is started.
void AddServeCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_SERVE_H_
