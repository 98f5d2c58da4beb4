// `caravan agent`: makes this machine a node of a cluster.
#ifndef CARAVAN_CLI_AGENT_H_
#define CARAVAN_CLI_AGENT_H_

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

// Adds the subcommand to `app`. When parsing finds it chosen, it runs until the
// agent ends and leaves the process's exit code in `exit_code`, which must
// outlive `app`. Call it before any thread is started.
void AddAgentCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_AGENT_H_
