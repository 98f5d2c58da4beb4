// `caravan bench`: how fast a model runs, and how far that is from what the
// machine could do.
#ifndef CARAVAN_CLI_BENCH_H_
#define CARAVAN_CLI_BENCH_H_

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

// Adds the subcommand, which has subcommands itself, to `app`; `exit_code` must
// outlive it. Call it before any thread is started.
void AddBenchCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_BENCH_H_
