// The agent: one daemon per node that keeps the node a member of the cluster
// and starts and kills engines for the coordinator. It never calls MPI, so it
// can always act.
#ifndef CARAVAN_WORKER_AGENT_AGENT_H_
#define CARAVAN_WORKER_AGENT_AGENT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"

namespace caravan::worker {

struct AgentOptions {
  std::string coordinator;  // HOST:PORT
  std::string token_file;
  std::string node;  // empty: the host name
  // Allows a coordinator whose address is not loopback, in clear text.
  bool insecure = false;
  std::string runtime_folder;  // empty: DefaultRuntimeFolder()
  // "auto": cores and, where there are any, GPUs; or "cpu", "cuda" (GPUs only),
  // "simulated".
  std::string device = "auto";
  std::string caravan_program;  // runs `relay`; empty: this executable
  // Empty: caravan-engine, caravan-engine-cuda beside this executable, the
  // latter if it is there; for the latter CARAVAN_CUDA_ENGINE goes first.
  std::string engine_program;
  std::string cuda_engine_program;
  std::string mpirun = "mpirun";
  std::string daemon = "orted";
};

// Life: Create() checks the options; Run() dials the coordinator, again and
// again if need be, until Stop(), the coordinator's Shutdown or its refusal.
// Whenever a membership ends, everything that was started in it is killed
// before the next begins; what an earlier agent with the same runtime folder
// left is killed first of all. Stop() is thread-safe; the rest is one thread.
class Agent final {
 public:
  // kInvalidArgument: an option is wrong; kFailedPrecondition: clear text to
  // another machine without `insecure`; else as RuntimeFolder::Open().
  static absl::StatusOr<std::unique_ptr<Agent>> Create(AgentOptions options,
                                                       Clock& clock);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Blocks. OK after Stop() or Shutdown; the coordinator's status when it
  // refuses this agent.
  absl::Status Run();

  // Makes Run() kill all its processes and return.
  void Stop();

 private:
  class Impl;
  explicit Agent(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_AGENT_H_
