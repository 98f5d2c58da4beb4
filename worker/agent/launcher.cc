#include "worker/agent/launcher.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/engine_environment.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "caravan/v1/agent.pb.h"
#include "worker/agent/daemon_arguments.h"
#include "worker/agent/launch_environment.h"
#include "worker/agent/mark.h"
#include "worker/agent/mpi_command.h"
#include "worker/agent/progress_folder.h"
#include "worker/agent/relay_client.h"

namespace caravan::worker {
namespace {

std::string Variable(absl::string_view name, absl::string_view value) {
  return absl::StrCat(name, "=", value);
}

// MPI ranks compute on CPUs.
std::vector<std::string> MpiVariables() {
  return {Variable(kDeviceVariable, "cpu")};
}

}  // namespace

Launcher::Launcher(Options options, RuntimeFolder& folder,
                   ProcessTable& processes)
    : options_(std::move(options)), folder_(folder), processes_(processes) {}

std::string Launcher::RelayCommand() const {
  return absl::StrCat(folder_.programs(), "/caravan relay");
}

absl::Status Launcher::Admit(const EpochKey& key, absl::string_view role,
                             int rank) {
  const auto fence = fences_.find(key.replica);
  if (fence != fences_.end() && key.epoch <= fence->second) {
    return absl::FailedPreconditionError(
        absl::StrCat(key.DebugString(), " is over: epochs up to ",
                     fence->second, " were killed"));
  }
  Started& started = started_[key];
  if (!started.roles.emplace(role, rank).second) {
    return absl::AlreadyExistsError(
        absl::StrCat("the ", role, " of ", key.DebugString(),
                     " was started before on node ", options_.node));
  }
  return absl::OkStatus();
}

absl::Status Launcher::Start(const ProcessLabel& label, std::string program,
                             std::vector<std::string> arguments,
                             std::vector<std::string> extra_environment) {
  CARAVAN_ASSIGN_OR_RETURN(const EpochFolders folders,
                           folder_.CreateEpoch(label.epoch));
  std::vector<std::string> ours = std::move(extra_environment);
  const Mark mark = {options_.incarnation, label.epoch};
  ours.insert(
      ours.end(),
      {Variable(kMarkVariable, FormatMark(mark)),
       Variable(kCoordinatorVariable, options_.coordinator),
       Variable(kTokenFileVariable, options_.token_file),
       Variable(kNodeVariable, options_.node),
       Variable(kReplicaVariable, absl::StrCat(label.epoch.replica)),
       Variable(kEpochVariable, absl::StrCat(label.epoch.epoch)),
       Variable(kProgressFolderVariable, folders.progress),
       Variable(kAgentPidVariable, absl::StrCat(getpid())),
       Variable(kRelaySocketVariable, folder_.relay_socket()),
       // Open MPI refuses root otherwise; containers have no other user.
       "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"});
  return processes_
      .Start(label, {.program = std::move(program),
                     .arguments = std::move(arguments),
                     .environment = LaunchEnvironment(
                         InheritedEnvironment(), folder_.programs(), ours)})
      .status();
}

absl::Status Launcher::StartEngine(const v1::LaunchEngine& command) {
  const EpochKey key = {command.replica(), command.epoch()};
  if (command.rank() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a rank cannot be ", command.rank()));
  }
  const bool on_gpu = command.device() == "cuda";
  const bool is_known =
      on_gpu ? options_.has_cuda_engine
             : command.device() == "cpu" || command.device() == "simulated";
  if (!is_known) {
    return absl::UnimplementedError(absl::StrCat(
        "no engine for the device '", command.device(), "' on this node"));
  }
  CARAVAN_RETURN_IF_ERROR(Admit(key, "engine", command.rank()));
  std::vector<std::string> variables;
  if (on_gpu) variables = GpuVariables(command);
  if (command.is_dialed()) {
    const absl::string_view address = data_.address;
    variables.push_back(
        Variable(kDataAddressVariable, address.substr(0, address.find('/'))));
  }
  variables.push_back(Variable(kDeviceVariable, command.device()));
  variables.push_back(Variable(kRankVariable, absl::StrCat(command.rank())));
  return Start({.epoch = key, .role = "engine", .rank = command.rank()},
               absl::StrCat(folder_.programs(), "/",
                            on_gpu ? kCudaEngineName : kEngineName),
               {}, std::move(variables));
}

std::vector<std::string> Launcher::GpuVariables(
    const v1::LaunchEngine& command) const {
  std::vector<std::string> variables = {
      Variable("CUDA_VISIBLE_DEVICES", command.device_uuid()),
      // "=": exactly this one, not all whose names begin so.
      Variable("NCCL_SOCKET_IFNAME", absl::StrCat("=", data_.interface)),
      // Would stand above what the engine says of its communicators.
      Variable("NCCL_COMM_BLOCKING", "0"),
      // A peer that is gone is known after seconds, not after a minute.
      Variable("NCCL_SOCKET_RETRY_CNT", "8"),
      // Its port is one for all jobs of a host.
      Variable("NCCL_RAS_ENABLE", "0")};
  if (!options_.peer_to_peer) {
    // NCCL has no such switch for one pair.
    variables.push_back(Variable("NCCL_P2P_DISABLE", "1"));
  }
  return variables;
}

absl::Status Launcher::StartMpi(const v1::LaunchMpi& command) {
  const EpochKey key = {command.replica(), command.epoch()};
  const EpochFolders folders = folder_.Folders(key);
  MpiLaunch launch = {
      .epoch = key,
      .lead_node = options_.node,
      .lead_host_name = options_.host_name,
      .subnets = {command.subnets().begin(), command.subnets().end()},
      .relay_command = RelayCommand(),
      .session_folder = folders.session,
      .shared_memory_folder = folders.shared_memory,
  };
  for (const v1::MpiHost& host : command.hosts()) {
    launch.hosts.push_back({host.node(), host.slots()});
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<std::string> arguments,
                           MpirunArguments(launch));
  CARAVAN_RETURN_IF_ERROR(Admit(key, "mpirun", -1));
  return Start({.epoch = key, .role = "mpirun"}, options_.mpirun,
               std::move(arguments), MpiVariables());
}

absl::Status Launcher::StartDaemon(const v1::StartDaemon& command) {
  const EpochKey key = {command.replica(), command.epoch()};
  const EpochFolders folders = folder_.Folders(key);
  const std::vector<std::string> asked = {command.arguments().begin(),
                                          command.arguments().end()};
  CARAVAN_ASSIGN_OR_RETURN(
      std::vector<std::string> arguments,
      AllowedDaemonArguments(asked,
                             {.relay_command = RelayCommand(),
                              .session_folder = folders.session,
                              .shared_memory_folder = folders.shared_memory}));
  CARAVAN_RETURN_IF_ERROR(Admit(key, "daemon", -1));
  return Start({.epoch = key, .role = "daemon"}, options_.daemon,
               std::move(arguments), MpiVariables());
}

void Launcher::Fence(const EpochKey& key) {
  uint64_t& fence = fences_.try_emplace(key.replica, key.epoch).first->second;
  fence = std::max(fence, key.epoch);
  for (auto it = started_.begin(); it != started_.end();) {
    const bool over =
        it->first.replica == key.replica && it->first.epoch <= key.epoch;
    it = over ? started_.erase(it) : std::next(it);
  }
}

void Launcher::Reset(DataAddress data) {
  data_ = std::move(data);
  fences_.clear();
  started_.clear();
}

std::vector<EngineProgressSnapshot> Launcher::Progress(
    const std::function<void(ProcessExit)>& on_gone) {
  std::vector<EngineProgressSnapshot> living;
  for (const auto& item : started_) {
    const EpochKey& key = item.first;
    for (const EngineProgressSnapshot& engine :
         ReadProgressFolder(folder_.Folders(key).progress, key)) {
      if (WatchEngine(engine, on_gone)) living.push_back(engine);
    }
  }
  return living;
}

bool Launcher::WatchEngine(const EngineProgressSnapshot& engine,
                           const std::function<void(ProcessExit)>& on_gone) {
  const EpochKey key = {engine.replica, engine.epoch};
  const pid_t pid = static_cast<pid_t>(engine.pid);
  if (processes_.Knows(pid)) return true;
  Started& started = started_[key];
  // A child of ours: its end has been told already.
  if (started.roles.count({"engine", engine.rank}) != 0) return false;
  if (!started.engines.insert(pid).second) return false;  // likewise
  const ProcessLabel label = {
      .epoch = key, .role = "engine", .rank = engine.rank};
  const absl::Status watched = processes_.Watch(label, pid);
  // The number may have gone to another process: only its mark tells.
  const std::optional<Mark> mark = ReadMark(pid);
  if (watched.ok() && mark && mark->epoch == key) return true;
  if (!watched.ok()) {
    on_gone({.label = label,
             .pid = pid,
             .reason = absl::StrCat("ended before it was watched: ",
                                    watched.message())});
  }
  return false;
}

}  // namespace caravan::worker
