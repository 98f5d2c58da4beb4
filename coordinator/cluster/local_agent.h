// This machine's own agent, for a cluster of one machine: a child process.
#ifndef CARAVAN_COORDINATOR_CLUSTER_LOCAL_AGENT_H_
#define CARAVAN_COORDINATOR_CLUSTER_LOCAL_AGENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace caravan::coordinator {

struct LocalAgentOptions {
  std::string program;  // absolute path of `caravan`
  // After the program: "agent", "--join", ...
  std::vector<std::string> arguments;
  // What it and its engines write goes to this file; empty: to this process's
  // standard error.
  std::string output_file;
};

// Starts the agent and starts it again when it ends, later each time when it
// ends soon. The child ends with this process, however that ends: it gets
// SIGTERM then, and its engines are killed. It stands in a process group of its
// own, so that Ctrl-C in a terminal reaches it only through the coordinator.
class LocalAgent final {
 public:
  static absl::StatusOr<std::unique_ptr<LocalAgent>> Start(
      LocalAgentOptions options);
  ~LocalAgent();  // Stop(0)
  LocalAgent(const LocalAgent&) = delete;
  LocalAgent& operator=(const LocalAgent&) = delete;

  // kUnavailable when it has ended several times in a row right after its
  // start, with how it ended. Thread-safe.
  absl::Status status() const;

  // From now on its end is its end.
  void ExpectExit();

  // ExpectExit, waits up to `timeout` for its end, then SIGKILL.
  void Stop(absl::Duration timeout);

 private:
  class Impl;
  explicit LocalAgent(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_LOCAL_AGENT_H_
