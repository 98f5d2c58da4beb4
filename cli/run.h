// `caravan run`: one prompt, continued on the terminal.
#ifndef CARAVAN_CLI_RUN_H_
#define CARAVAN_CLI_RUN_H_

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

// Adds the subcommand to `app`; `exit_code` must outlive it. Ctrl-C stops the
// answer, with exit code 130. Call it before any thread is started.
void AddRunCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_RUN_H_
