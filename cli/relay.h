// `caravan relay HOST COMMAND...`: what an agent lets mpirun run in place of
// ssh. Not for users.
#ifndef CARAVAN_CLI_RELAY_H_
#define CARAVAN_CLI_RELAY_H_

namespace caravan::cli {

// Whether `argv` asks for it. Its arguments are orted's, full of dashes, so
// they are not to be parsed as ours: ask before parsing anything.
bool IsRelayCommand(int argc, char** argv);

// The exit code: 0 when the target node has started its daemon, else 1 after
// one line on standard error.
int RunRelay(int argc, char** argv);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_RELAY_H_
