// Turns the coordinator's launch commands into processes, and knows which of
// them run.
#ifndef CARAVAN_WORKER_AGENT_LAUNCHER_H_
#define CARAVAN_WORKER_AGENT_LAUNCHER_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/progress_page.h"
#include "worker/agent/data_address.h"
#include "worker/agent/epoch_key.h"
#include "worker/agent/process_table.h"
#include "worker/agent/runtime_folder.h"

namespace caravan::v1 {
class LaunchEngine;
class LaunchMpi;
class StartDaemon;
}  // namespace caravan::v1

namespace caravan::worker {

// One thread: the one whose end kills the children (see Spawn()).
class Launcher final {
 public:
  struct Options {
    std::string coordinator;
    std::string token_file;
    std::string node;
    std::string host_name;
    std::string incarnation;
    std::string mpirun;
    std::string daemon;
    bool has_cuda_engine = false;
    // Between this node's GPUs; else their engines go through its memory.
    bool peer_to_peer = true;
  };

  // `folder` and `processes` must outlive this.
  Launcher(Options options, RuntimeFolder& folder, ProcessTable& processes);

  // Each fails without leaving a process: kFailedPrecondition for an epoch that
  // is fenced, kAlreadyExists for what runs already, else as its parts do.
  absl::Status StartEngine(const v1::LaunchEngine& command);
  absl::Status StartMpi(const v1::LaunchMpi& command);
  absl::Status StartDaemon(const v1::StartDaemon& command);

  // From now on nothing of this replica with this epoch or an earlier one is
  // started.
  void Fence(const EpochKey& key);
  // Forgets all that was started; a new membership begins, in which GPU engines
  // are dialed at the address and talk through the interface of `data`.
  void Reset(DataAddress data);

  // What the living engines say in their pages. Starts to watch those that are
  // seen for the first time; `on_gone` is told of those that ended before.
  std::vector<EngineProgressSnapshot> Progress(
      const std::function<void(ProcessExit)>& on_gone);

 private:
  absl::Status Admit(const EpochKey& key, absl::string_view role, int rank);
  absl::Status Start(const ProcessLabel& label, std::string program,
                     std::vector<std::string> arguments,
                     std::vector<std::string> extra_environment);
  bool WatchEngine(const EngineProgressSnapshot& engine,
                   const std::function<void(ProcessExit)>& on_gone);
  std::string RelayCommand() const;
  // What the GPU engine of this command needs to know before CUDA and NCCL are
  // up.
  std::vector<std::string> GpuVariables(const v1::LaunchEngine& command) const;

  const Options options_;
  RuntimeFolder& folder_;
  ProcessTable& processes_;
  // Per replica, the latest epoch that may not start any more.
  std::map<uint64_t, uint64_t> fences_;
  struct Started {
    std::set<std::pair<std::string, int>> roles;  // with rank
    std::set<pid_t> engines;                      // seen in pages
  };
  std::map<EpochKey, Started> started_;
  DataAddress data_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_LAUNCHER_H_
