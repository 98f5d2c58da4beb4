#include "worker/agent/membership.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "worker/agent/progress_folder.h"

namespace caravan::worker {
namespace {

constexpr absl::Duration kGoodbyeTimeout = absl::Milliseconds(300);
constexpr int64_t kMaxLeaseMs = 3'600'000;

// A refusal is for good: another attempt would meet the same answer.
bool IsRefusal(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status) ||
         absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status);
}

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

void AddProgress(const EngineProgressSnapshot& engine,
                 v1::Heartbeat& heartbeat) {
  v1::EngineProgress& progress = *heartbeat.add_engines();
  progress.set_replica(engine.replica);
  progress.set_epoch(engine.epoch);
  progress.set_rank(engine.rank);
  progress.set_pid(engine.pid);
  progress.set_step(engine.step);
  const absl::string_view phase = Name(engine.phase);
  progress.set_phase(phase.data(), phase.size());
  progress.set_ticks(engine.ticks);
  progress.set_resident_bytes(ResidentBytes(static_cast<pid_t>(engine.pid)));
}

}  // namespace

Membership::Membership(const std::string& coordinator, uint64_t dial,
                       std::string node, MembershipParts parts)
    : dial_(dial),
      node_(std::move(node)),
      parts_(parts),
      stream_(coordinator,
              {.on_command =
                   [dial, &events = parts.events](v1::AgentCommand command) {
                     events.Push(CommandArrived{dial, std::move(command)});
                   },
               .on_end =
                   [dial, &events = parts.events](absl::Status status) {
                     events.Push(StreamEnded{dial, std::move(status)});
                   }}),
      last_heard_(parts.clock.Now()) {}

Membership::End Membership::Run(v1::AgentReport hello) {
  Send(std::move(hello));
  while (true) {
    std::optional<AgentEvent> event = parts_.events.Pop(NextWakeUp());
    if (event) {
      std::optional<End> end = Handle(*std::move(event));
      if (end) return *std::move(end);
    }
    const absl::Time now = parts_.clock.Now();
    if (now >= last_heard_ + lease_) {
      return {.kind = End::Kind::kLost,
              .status = absl::DeadlineExceededError(
                  absl::StrCat("the coordinator has been silent for ",
                               absl::FormatDuration(now - last_heard_))),
              .was_welcome = welcome_};
    }
    if (now >= next_heartbeat_) SendHeartbeat();
    ContinueKills();
  }
}

absl::Time Membership::NextWakeUp() const {
  absl::Time next = std::min(last_heard_ + lease_, next_heartbeat_);
  if (!kills_.empty()) {
    next = std::min(next, parts_.clock.Now() + EpochKiller::kInterval);
  }
  return next;
}

std::optional<Membership::End> Membership::Handle(AgentEvent event) {
  return std::visit(
      Overloaded{
          [&](CommandArrived& arrived) -> std::optional<End> {
            if (arrived.dial != dial_) return std::nullopt;
            last_heard_ = parts_.clock.Now();
            return HandleCommand(arrived.command);
          },
          [&](StreamEnded& ended) -> std::optional<End> {
            if (ended.dial != dial_) return std::nullopt;
            const bool refused = !welcome_ && IsRefusal(ended.status);
            return End{.kind = refused ? End::Kind::kRefused : End::Kind::kLost,
                       .status = ended.status.ok()
                                     ? absl::UnavailableError(
                                           "the coordinator ended the stream")
                                     : ended.status,
                       .was_welcome = welcome_};
          },
          [&](ProcessExit& exit) -> std::optional<End> {
            HandleExit(exit);
            return std::nullopt;
          },
          [&](RelayCall& call) -> std::optional<End> {
            HandleRelayCall(std::move(call));
            return std::nullopt;
          },
          [&](StopRequested&) -> std::optional<End> {
            return End{.kind = End::Kind::kStopped, .was_welcome = welcome_};
          }},
      event);
}

std::optional<Membership::End> Membership::HandleCommand(
    const v1::AgentCommand& command) {
  const auto lost = [&](absl::Status status) -> std::optional<End> {
    if (status.ok()) return std::nullopt;
    return End{.kind = End::Kind::kLost,
               .status = std::move(status),
               .was_welcome = welcome_};
  };
  if (!welcome_ && !command.has_welcome()) {
    return lost(absl::InternalError("a command came before the welcome"));
  }
  switch (command.command_case()) {
    case v1::AgentCommand::kWelcome:
      return lost(HandleWelcome(command.welcome()));
    case v1::AgentCommand::kLaunchEngine: {
      const v1::LaunchEngine& launch = command.launch_engine();
      HandleLaunch({launch.replica(), launch.epoch()},
                   parts_.launcher.StartEngine(launch));
      return std::nullopt;
    }
    case v1::AgentCommand::kLaunchMpi: {
      const v1::LaunchMpi& launch = command.launch_mpi();
      HandleLaunch({launch.replica(), launch.epoch()},
                   parts_.launcher.StartMpi(launch));
      return std::nullopt;
    }
    case v1::AgentCommand::kStartDaemon:
      HandleStartDaemon(command.start_daemon());
      return std::nullopt;
    case v1::AgentCommand::kRelayAnswer: {
      const v1::RelayAnswer& answer = command.relay_answer();
      parts_.relays.Answer(
          answer.request(),
          absl::Status(static_cast<absl::StatusCode>(answer.code()),
                       answer.message()));
      return std::nullopt;
    }
    case v1::AgentCommand::kKillEpoch:
      BeginKill({command.kill_epoch().replica(), command.kill_epoch().epoch()});
      return std::nullopt;
    case v1::AgentCommand::kShutdown:
      LogInfo("the coordinator asks this agent to shut down");
      return End{.kind = End::Kind::kStopped, .was_welcome = true};
    case v1::AgentCommand::kHeartbeatAnswer:
    case v1::AgentCommand::COMMAND_NOT_SET:
      return std::nullopt;
  }
  return std::nullopt;
}

absl::Status Membership::HandleWelcome(const v1::Welcome& welcome) {
  if (welcome.lease_ms() < 1 || welcome.lease_ms() > kMaxLeaseMs) {
    return absl::InternalError(
        absl::StrCat("the coordinator's lease of ", welcome.lease_ms(),
                     " ms is not within 1 ms and an hour"));
  }
  lease_ = absl::Milliseconds(welcome.lease_ms());
  welcome_ = true;
  next_heartbeat_ = parts_.clock.Now();
  LogInfo("joined the cluster");
  return absl::OkStatus();
}

void Membership::HandleLaunch(const EpochKey& key, const absl::Status& status) {
  if (status.ok()) return;
  LogError(absl::StrCat("cannot launch ", key.DebugString(), ": ",
                        status.ToString()));
  v1::AgentReport report;
  v1::LaunchFailed& failed = *report.mutable_launch_failed();
  failed.set_replica(key.replica);
  failed.set_epoch(key.epoch);
  failed.set_code(static_cast<int>(status.code()));
  failed.set_message(absl::StrCat("node ", node_, ": ", status.message()));
  Send(std::move(report));
}

void Membership::HandleStartDaemon(const v1::StartDaemon& command) {
  const absl::Status status = parts_.launcher.StartDaemon(command);
  v1::AgentReport report;
  v1::DaemonStarted& started = *report.mutable_daemon_started();
  started.set_replica(command.replica());
  started.set_epoch(command.epoch());
  started.set_request(command.request());
  started.set_code(static_cast<int>(status.code()));
  if (!status.ok()) {
    LogError(absl::StrCat("cannot start a daemon: ", status.ToString()));
    started.set_message(absl::StrCat("node ", node_, ": ", status.message()));
  }
  Send(std::move(report));
}

void Membership::HandleRelayCall(RelayCall call) {
  v1::AgentReport report;
  v1::RelayRequest& request = *report.mutable_relay_request();
  request.set_replica(call.epoch.replica);
  request.set_epoch(call.epoch.epoch);
  request.set_request(call.request);
  request.set_target_node(call.daemon.target_node);
  for (std::string& argument : call.daemon.arguments) {
    *request.add_arguments() = std::move(argument);
  }
  Send(std::move(report));
}

void Membership::HandleExit(const ProcessExit& exit) {
  LogInfo(absl::StrCat(exit.label.DebugString(), ", pid ", exit.pid, ", ",
                       exit.reason));
  // How far all were comes first, fresher than the last heartbeat.
  if (exit.label.role == "engine") SendLastProgress(exit.label.epoch);
  v1::AgentReport report;
  v1::ProcessExited& exited = *report.mutable_process_exited();
  exited.set_replica(exit.label.epoch.replica);
  exited.set_epoch(exit.label.epoch.epoch);
  exited.set_role(exit.label.role);
  exited.set_pid(exit.pid);
  exited.set_reason(exit.reason);
  exited.set_rank(exit.label.rank);
  exited.set_last_words(exit.last_words);
  Send(std::move(report));
}

void Membership::BeginKill(const EpochKey& key) {
  parts_.launcher.Fence(key);
  const std::string identity = parts_.folder.identity();
  kills_.push_back({key, EpochKiller(
                             [identity, key](const Mark& mark) {
                               return mark.identity() == identity &&
                                      mark.epoch.replica == key.replica &&
                                      mark.epoch.epoch <= key.epoch;
                             },
                             parts_.clock)});
}

void Membership::ContinueKills() {
  for (auto it = kills_.begin(); it != kills_.end();) {
    if (!it->killer.Look()) {
      ++it;
      continue;
    }
    std::string problem = it->killer.problem();
    for (const EpochKey& key : parts_.folder.Epochs()) {
      if (key.replica != it->key.replica || key.epoch > it->key.epoch) continue;
      const absl::Status removed = parts_.folder.RemoveEpoch(key);
      if (problem.empty() && !removed.ok()) {
        problem = std::string(removed.message());
      }
    }
    parts_.processes.ReapOrphans();
    LogInfo(absl::StrCat("cleared ", it->key.DebugString(), ": killed ",
                         it->killer.num_killed(), " processes",
                         problem.empty() ? "" : ", but ", problem));
    v1::AgentReport report;
    v1::EpochCleared& cleared = *report.mutable_epoch_cleared();
    cleared.set_replica(it->key.replica);
    cleared.set_epoch(it->key.epoch);
    cleared.set_num_killed(it->killer.num_killed());
    cleared.set_problem(problem);
    Send(std::move(report));
    it = kills_.erase(it);
  }
}

void Membership::SendHeartbeat() {
  next_heartbeat_ = parts_.clock.Now() + kHeartbeatInterval;
  parts_.processes.ReapOrphans();
  v1::AgentReport report;
  v1::Heartbeat& heartbeat = *report.mutable_heartbeat();
  for (const EngineProgressSnapshot& engine : parts_.launcher.Progress(
           [this](const ProcessExit& exit) { HandleExit(exit); })) {
    AddProgress(engine, heartbeat);
  }
  Send(std::move(report));
}

void Membership::SendLastProgress(const EpochKey& key) {
  v1::AgentReport report;
  v1::Heartbeat& heartbeat = *report.mutable_heartbeat();
  for (const EngineProgressSnapshot& engine :
       ReadProgressFolder(parts_.folder.Folders(key).progress, key)) {
    AddProgress(engine, heartbeat);
  }
  Send(std::move(report));
}

void Membership::Send(v1::AgentReport report) {
  if (stream_.Send(std::move(report))) return;
  // The stream's end is on its way to us, and says more.
  LogDebug("a report found the stream closed");
}

void Membership::SayGoodbye() {
  stream_.Finish();
  const absl::Time deadline = parts_.clock.Now() + kGoodbyeTimeout;
  while (std::optional<AgentEvent> event = parts_.events.Pop(deadline)) {
    if (const auto* exit = std::get_if<ProcessExit>(&*event)) HandleExit(*exit);
    const auto* ended = std::get_if<StreamEnded>(&*event);
    if (ended != nullptr && ended->dial == dial_) return;
    if (parts_.clock.Now() >= deadline) return;
  }
}

}  // namespace caravan::worker
