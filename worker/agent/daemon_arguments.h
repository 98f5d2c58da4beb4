// The command line of orted, Open MPI's daemon, as mpirun gives it to what it
// takes for ssh: read on one node, checked against an allow-list on another.
#ifndef CARAVAN_WORKER_AGENT_DAEMON_ARGUMENTS_H_
#define CARAVAN_WORKER_AGENT_DAEMON_ARGUMENTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace caravan::worker {

struct DaemonRequest {
  std::string target_node;
  std::vector<std::string> arguments;  // after "orted"
};

// Reads `HOST COMMAND...`. The command is meant for a shell (quotes, possibly
// "PATH=... ; export PATH ; /usr/bin/orted ..."); nothing of it is ever given
// to one. kInvalidArgument when there is no host or no orted in it.
absl::StatusOr<DaemonRequest> ParseRelayCommand(
    absl::Span<const std::string> arguments);

// What is this node's own business, whatever the lead node wrote.
struct DaemonPlaces {
  std::string relay_command;
  std::string session_folder;
  std::string shared_memory_folder;
};

// The arguments with which orted may be started here: only `-mca NAME VALUE`
// with known names and values of the expected form; --daemonize is left out, so
// that orted stays the agent's child. kPermissionDenied names what is refused.
absl::StatusOr<std::vector<std::string>> AllowedDaemonArguments(
    absl::Span<const std::string> arguments, const DaemonPlaces& places);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_DAEMON_ARGUMENTS_H_
