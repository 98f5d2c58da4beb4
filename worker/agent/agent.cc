#include "worker/agent/agent.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/engine_environment.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "worker/agent/data_address.h"
#include "worker/agent/device_inventory.h"
#include "worker/agent/epoch_killer.h"
#include "worker/agent/event_queue.h"
#include "worker/agent/gpu_inventory.h"
#include "worker/agent/launcher.h"
#include "worker/agent/membership.h"
#include "worker/agent/mpi_command.h"
#include "worker/agent/process_table.h"
#include "worker/agent/relay_server.h"
#include "worker/agent/runtime_folder.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(200);
constexpr absl::Duration kLastBackoff = absl::Seconds(2);
// A driver that nobody uses takes seconds for each GPU.
constexpr absl::Duration kGpuTimeout = absl::Seconds(60);

absl::StatusOr<std::string> HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  if (gethostname(name, sizeof(name) - 1) != 0) {
    return absl::ErrnoToStatus(errno, "cannot tell the host name");
  }
  return std::string(name);
}

absl::StatusOr<std::string> OwnExecutable() {
  std::error_code error;
  const fs::path path = fs::read_symlink("/proc/self/exe", error);
  if (!error) return path.string();
  return absl::InternalError(
      absl::StrCat("cannot tell the own executable: ", error.message()));
}

absl::Status CheckOptions(const AgentOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const HostPort coordinator,
                           ParseHostPort(options.coordinator));
  if (!IsLoopback(coordinator.host) && !options.insecure) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the coordinator ", options.coordinator,
        " is not on this machine, and the connection would be in clear text; "
        "say --insecure if the network is trusted"));
  }
  if (!IsNodeName(options.node)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a node's name has letters, digits, '.', '_' and '-': '",
                     options.node, "'; choose one with --node-name"));
  }
  constexpr absl::string_view kDevices[] = {"auto", "cpu", "cuda", "simulated"};
  if (std::find(std::begin(kDevices), std::end(kDevices), options.device) ==
      std::end(kDevices)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--device must be auto, cpu, cuda or simulated, not '",
                     options.device, "'"));
  }
  return ReadToken(options.token_file).status();
}

// Fills in what was left empty.
absl::Status CompleteOptions(AgentOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const std::string host, HostName());
  if (options.node.empty()) options.node = host;
  CARAVAN_ASSIGN_OR_RETURN(const std::string executable, OwnExecutable());
  if (options.caravan_program.empty()) options.caravan_program = executable;
  if (options.engine_program.empty()) {
    options.engine_program =
        (fs::path(executable).parent_path() / kEngineName).string();
  }
  if (options.cuda_engine_program.empty()) {
    const char* chosen = std::getenv(kCudaEngineVariable);
    if (chosen != nullptr) options.cuda_engine_program = chosen;
  }
  if (options.cuda_engine_program.empty()) {
    const fs::path program =
        fs::path(executable).parent_path() / kCudaEngineName;
    std::error_code error;
    if (fs::exists(program, error)) {
      options.cuda_engine_program = program.string();
    }
  }
  if (options.runtime_folder.empty()) {
    options.runtime_folder = DefaultRuntimeFolder(options.node);
  }
  std::error_code error;
  options.token_file = fs::absolute(options.token_file, error).string();
  if (!error) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("cannot tell the current folder: ", error.message()));
}

}  // namespace

class Agent::Impl final {
 public:
  Impl(AgentOptions options, Clock& clock)
      : options_(std::move(options)), clock_(clock), events_(clock) {}

  absl::Status Prepare();
  absl::Status Run();
  void Stop() { events_.Push(StopRequested{}); }

 private:
  // Everything that this agent or an earlier one in its folder started.
  void KillEverything();
  absl::Status LookForGpus();
  void WarnOfBrokenLinks() const;
  absl::StatusOr<v1::AgentReport> MakeHello(
      const std::string& data_address) const;
  void AddDevices(v1::AgentHello& hello) const;
  Membership::End Attend();
  // False when the agent is to stop.
  bool WaitBeforeDial(absl::Duration backoff);

  const AgentOptions options_;
  Clock& clock_;
  EventQueue events_;
  std::unique_ptr<RuntimeFolder> folder_;
  std::string incarnation_;
  std::unique_ptr<ProcessTable> processes_;
  std::unique_ptr<RelayServer> relays_;
  std::unique_ptr<Launcher> launcher_;
  uint64_t dial_ = 0;
  std::string last_problem_;
  GpuInventory gpus_;
};

absl::Status Agent::Impl::Prepare() {
  CARAVAN_ASSIGN_OR_RETURN(const std::string host, HostName());
  CARAVAN_ASSIGN_OR_RETURN(folder_,
                           RuntimeFolder::Open(options_.runtime_folder));
  incarnation_ = absl::StrCat(folder_->identity(), "-", DrawHexId());
  CARAVAN_RETURN_IF_ERROR(folder_->Link(options_.engine_program, kEngineName));
  CARAVAN_RETURN_IF_ERROR(folder_->Link(options_.caravan_program, "caravan"));
  CARAVAN_RETURN_IF_ERROR(LookForGpus());
  CARAVAN_ASSIGN_OR_RETURN(processes_,
                           ProcessTable::Create([this](ProcessExit exit) {
                             events_.Push(std::move(exit));
                           }));
  CARAVAN_ASSIGN_OR_RETURN(
      relays_, RelayServer::Start({.socket_path = folder_->relay_socket(),
                                   .incarnation = incarnation_,
                                   .on_call = [this](RelayCall call) {
                                     events_.Push(std::move(call));
                                   }}));
  const bool peer_to_peer =
      std::all_of(gpus_.gpus.begin(), gpus_.gpus.end(),
                  [](const Gpu& gpu) { return gpu.broken_peers.empty(); });
  launcher_ = std::make_unique<Launcher>(
      Launcher::Options{.coordinator = options_.coordinator,
                        .token_file = options_.token_file,
                        .node = options_.node,
                        .host_name = host,
                        .incarnation = incarnation_,
                        .mpirun = options_.mpirun,
                        .daemon = options_.daemon,
                        .has_cuda_engine = !gpus_.gpus.empty(),
                        .peer_to_peer = peer_to_peer},
      *folder_, *processes_);
  return absl::OkStatus();
}

// Once: each look wakes the driver.
absl::Status Agent::Impl::LookForGpus() {
  if (options_.device != "auto" && options_.device != "cuda") {
    gpus_.problem =
        absl::StrCat("its agent runs with --device ", options_.device);
    return absl::OkStatus();
  }
  if (options_.cuda_engine_program.empty()) {
    gpus_.problem =
        absl::StrCat("no ", kCudaEngineName, " lies beside its agent");
  } else {
    CARAVAN_RETURN_IF_ERROR(
        folder_->Link(options_.cuda_engine_program, kCudaEngineName));
    gpus_ = FindGpus(options_.cuda_engine_program, kGpuTimeout, clock_);
  }
  if (options_.device == "cuda" && gpus_.gpus.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no GPU on this machine: ", gpus_.problem));
  }
  if (!gpus_.gpus.empty()) {
    LogInfo(absl::StrCat(gpus_.gpus.size(), " GPUs, the first ",
                         gpus_.gpus[0].name, ", driver ", gpus_.driver));
  }
  WarnOfBrokenLinks();
  return absl::OkStatus();
}

void Agent::Impl::WarnOfBrokenLinks() const {
  for (const Gpu& gpu : gpus_.gpus) {
    for (const std::string& peer : gpu.broken_peers) {
      LogWarning(absl::StrCat(
          "data that GPU ", gpu.uuid, " (", gpu.pci_address,
          ") writes to the memory of GPU ", peer,
          " does not arrive: this node's GPUs talk through its memory instead. "
          "Switch off PCIe access control (ACS) and the IOMMU in the firmware, "
          "or start Linux with iommu=pt"));
    }
  }
}

absl::Status Agent::Impl::Run() {
  // Orphans of mpirun and orted come to this process.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  KillEverything();
  LogInfo(absl::StrCat("node ", options_.node, " dials the coordinator ",
                       options_.coordinator));
  absl::Duration backoff = kFirstBackoff;
  while (!events_.stop_requested()) {
    const Membership::End end = Attend();
    if (end.kind == Membership::End::Kind::kStopped) return absl::OkStatus();
    if (end.kind == Membership::End::Kind::kRefused) return end.status;
    const std::string problem = end.status.ToString();
    // One line per new problem, not one per attempt.
    if (end.was_welcome || problem != last_problem_) {
      LogWarning(absl::StrCat("not with the coordinator ", options_.coordinator,
                              ": ", problem, "; dialing on"));
    }
    last_problem_ = problem;
    backoff =
        end.was_welcome ? kFirstBackoff : std::min(backoff * 2, kLastBackoff);
    if (!WaitBeforeDial(backoff)) break;
  }
  return absl::OkStatus();
}

Membership::End Agent::Impl::Attend() {
  const absl::StatusOr<HostPort> coordinator =
      ParseHostPort(options_.coordinator);
  if (!coordinator.ok()) return {.status = coordinator.status()};
  const absl::StatusOr<DataAddress> data = FindDataAddress(*coordinator);
  if (!data.ok()) return {.status = data.status()};
  absl::StatusOr<v1::AgentReport> hello = MakeHello(data->address);
  if (!hello.ok()) return {.status = hello.status()};
  launcher_->Reset(*data);
  Membership membership(options_.coordinator, ++dial_, options_.node,
                        {.clock = clock_,
                         .events = events_,
                         .launcher = *launcher_,
                         .folder = *folder_,
                         .processes = *processes_,
                         .relays = *relays_});
  Membership::End end = membership.Run(*std::move(hello));
  if (end.was_welcome) KillEverything();
  if (end.kind == Membership::End::Kind::kStopped) membership.SayGoodbye();
  return end;
}

void Agent::Impl::KillEverything() {
  EpochKiller killer(
      [this](const Mark& mark) {
        return mark.identity() == folder_->identity();
      },
      clock_);
  KillAll(killer, clock_);
  std::string problem = killer.problem();
  for (const EpochKey& key : folder_->Epochs()) {
    const absl::Status removed = folder_->RemoveEpoch(key);
    if (!removed.ok()) problem = std::string(removed.message());
  }
  processes_->ReapOrphans();
  if (killer.num_killed() > 0) {
    LogInfo(absl::StrCat("killed ", killer.num_killed(), " processes"));
  }
  if (!problem.empty()) LogError(problem);
}

absl::StatusOr<v1::AgentReport> Agent::Impl::MakeHello(
    const std::string& data_address) const {
  // Read anew for each dial: the secret may have been replaced.
  CARAVAN_ASSIGN_OR_RETURN(const std::string token,
                           ReadToken(options_.token_file));
  v1::AgentReport report;
  v1::AgentHello& hello = *report.mutable_hello();
  hello.set_token(token);
  hello.set_build_id(std::string(BuildId()));
  hello.set_node(options_.node);
  hello.set_incarnation(incarnation_);
  hello.set_data_address(data_address);
  AddDevices(hello);
  return report;
}

void Agent::Impl::AddDevices(v1::AgentHello& hello) const {
  const CpuInventory cpu = FindCpu();
  hello.set_memory_bytes(cpu.memory_bytes);
  if (options_.device != "cuda") {
    v1::Device& device = *hello.add_devices();
    device.set_kind(options_.device == "simulated" ? "simulated" : "cpu");
    device.set_name(cpu.name);
    device.set_memory_bytes(cpu.memory_bytes);
    device.set_num_cores(cpu.num_cores);
  }
  hello.set_no_gpu_reason(gpus_.problem);
  for (const Gpu& gpu : gpus_.gpus) {
    v1::Device& device = *hello.add_devices();
    device.set_kind("cuda");
    device.set_name(gpu.name);
    device.set_memory_bytes(gpu.memory_bytes);
    device.set_uuid(gpu.uuid);
    device.set_pci_address(gpu.pci_address);
    device.set_compute_capability(gpu.compute_capability);
    device.set_driver(gpus_.driver);
    device.mutable_peers()->Assign(gpu.peers.begin(), gpu.peers.end());
  }
}

bool Agent::Impl::WaitBeforeDial(absl::Duration backoff) {
  const absl::Time deadline = clock_.Now() + backoff;
  while (clock_.Now() < deadline) {
    // What happens between two memberships concerns neither.
    const std::optional<AgentEvent> event = events_.Pop(deadline);
    if (event && std::holds_alternative<StopRequested>(*event)) return false;
  }
  return true;
}

Agent::Agent(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Agent::~Agent() = default;

absl::StatusOr<std::unique_ptr<Agent>> Agent::Create(AgentOptions options,
                                                     Clock& clock) {
  CARAVAN_RETURN_IF_ERROR(CompleteOptions(options));
  CARAVAN_RETURN_IF_ERROR(CheckOptions(options));
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  CARAVAN_RETURN_IF_ERROR(impl->Prepare());
  return std::unique_ptr<Agent>(new Agent(std::move(impl)));
}

absl::Status Agent::Run() { return impl_->Run(); }

void Agent::Stop() { impl_->Stop(); }

}  // namespace caravan::worker
