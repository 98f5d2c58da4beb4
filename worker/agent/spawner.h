// Starts a program as a child process of this one.
#ifndef CARAVAN_WORKER_AGENT_SPAWNER_H_
#define CARAVAN_WORKER_AGENT_SPAWNER_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace caravan::worker {

struct SpawnOptions {
  // Absolute path, or a name that is looked up in the PATH of `environment`.
  std::string program;
  // Without the program's own name.
  std::vector<std::string> arguments;
  // The whole environment, "NAME=value" each.
  std::vector<std::string> environment;
};

struct SpawnedProcess {
  pid_t pid = 0;
  UniqueFd pidfd;
  // Reads what the child writes to standard output and standard error; does
  // not block.
  UniqueFd output;
};

// Returns when the child runs the program, so that its environment is already
// the one asked for. The child is in a session of its own, has default signal
// handling, /dev/null as input and no other descriptor, and is killed when the
// *calling thread* ends: call it from a thread that lives as long as the agent.
// kNotFound when there is no such program, else what errno says.
absl::StatusOr<SpawnedProcess> Spawn(const SpawnOptions& options);

// The executable file that `program` means with this PATH ("/a:/b").
absl::StatusOr<std::string> FindProgram(const std::string& program,
                                        const std::string& path);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_SPAWNER_H_
