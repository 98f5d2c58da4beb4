#include "coordinator/cluster/replica_supervisor.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/cluster/placement.h"

namespace caravan::coordinator {
absl::string_view Name(ReplicaState state) {
  switch (state) {
    case ReplicaState::kWaitingForNodes:
      return "waiting for nodes";
    case ReplicaState::kLaunching:
      return "launching";
    case ReplicaState::kLoading:
      return "loading";
    case ReplicaState::kRunning:
      return "running";
    case ReplicaState::kDiagnosing:
      return "failing";
    case ReplicaState::kClearing:
      return "clearing";
    case ReplicaState::kBackingOff:
      return "backing off";
    case ReplicaState::kStopped:
      return "stopped";
  }
  return "unknown";
}

ReplicaSupervisor::ReplicaSupervisor(SupervisorOptions options, Clock* clock)
    : options_(std::move(options)), clock_(clock), entered_(clock->Now()) {}

std::vector<SupervisorAction> ReplicaSupervisor::TakeActions() {
  return std::exchange(actions_, {});
}

bool ReplicaSupervisor::IsActive() const {
  return state_ == ReplicaState::kLaunching ||
         state_ == ReplicaState::kLoading || state_ == ReplicaState::kRunning ||
         state_ == ReplicaState::kDiagnosing;
}

void ReplicaSupervisor::Enter(ReplicaState state) {
  state_ = state;
  entered_ = clock_->Now();
}

void ReplicaSupervisor::Log(LogLevel level, std::string text) {
  actions_.emplace_back(LogLine{.level = level, .text = std::move(text)});
}

void ReplicaSupervisor::Command(absl::string_view node,
                                v1::AgentCommand command) {
  actions_.emplace_back(
      ToAgent{.node = std::string(node), .command = std::move(command)});
}

// --- Nodes ---

void ReplicaSupervisor::OnNodeJoined(const Node& node) {
  nodes_[node.name] = node;
  heard_[node.name] = clock_->Now();
  // It may have been here before and still hold processes of an ended epoch.
  SendKill(node.name);
  if (state_ == ReplicaState::kWaitingForNodes) TryLaunch();
}

void ReplicaSupervisor::OnNodeLost(const LostNode& lost) {
  const std::string& name = lost.node.name;
  nodes_.erase(name);
  heard_.erase(name);
  uncleared_.erase(name);
  if (IsActive()) {
    for (const RankState& rank : ranks_.ranks()) {
      if (rank.node != name) continue;
      Consider({.evidence = Evidence::kNodeLost,
                .node = name,
                .step = rank.step,
                .phase = rank.phase,
                .reason = lost.reason});
      break;
    }
  }
  if (state_ == ReplicaState::kClearing && IsCleared()) FinishClearing();
}

void ReplicaSupervisor::OnAgentReport(absl::string_view node,
                                      const v1::AgentReport& report) {
  const absl::Time now = clock_->Now();
  const auto is_current = [&](const auto& message) {
    return message.replica() == options_.replica && message.epoch() == epoch_;
  };
  switch (report.report_case()) {
    case v1::AgentReport::kHeartbeat:
      heard_[std::string(node)] = now;
      for (const v1::EngineProgress& engine : report.heartbeat().engines()) {
        if (is_current(engine)) ranks_.OnProgress(node, engine, now);
      }
      break;
    case v1::AgentReport::kProcessExited:
      if (is_current(report.process_exited())) {
        OnProcessExited(node, report.process_exited());
      }
      break;
    case v1::AgentReport::kEpochCleared:
      OnEpochCleared(node, report.epoch_cleared());
      break;
    case v1::AgentReport::kLaunchFailed:
      if (is_current(report.launch_failed())) {
        Consider({.evidence = Evidence::kLaunchFailed,
                  .code = static_cast<absl::StatusCode>(
                      report.launch_failed().code()),
                  .node = std::string(node),
                  .reason = absl::StrCat("launch failed: ",
                                         report.launch_failed().message())});
      }
      break;
    case v1::AgentReport::kRelayRequest: {
      const v1::RelayRequest& request = report.relay_request();
      if (!is_current(request) || !IsActive()) {
        actions_.emplace_back(RelayRouter::Refuse(
            node, request,
            absl::FailedPreconditionError(absl::StrCat(
                "epoch ", request.epoch(), " is not being launched"))));
      } else if (nodes_.count(request.target_node()) == 0) {
        actions_.emplace_back(RelayRouter::Refuse(
            node, request,
            absl::NotFoundError(absl::StrCat("node ", request.target_node(),
                                             " is not in the cluster"))));
      } else {
        actions_.emplace_back(relays_.Forward(node, request));
      }
      break;
    }
    case v1::AgentReport::kDaemonStarted:
      if (is_current(report.daemon_started())) {
        ToAgent answer = relays_.Answer(node, report.daemon_started());
        if (!answer.node.empty()) actions_.emplace_back(std::move(answer));
      }
      break;
    case v1::AgentReport::kHello:
    case v1::AgentReport::REPORT_NOT_SET:
      break;
  }
}

void ReplicaSupervisor::OnProcessExited(absl::string_view node,
                                        const v1::ProcessExited& exited) {
  EpochCause cause = CauseOf(exited, node);
  if (exited.role() == "engine" && !ranks_.Has(cause.rank)) {
    cause.rank = ranks_.FindByPid(node, exited.pid());
  }
  if (ranks_.Has(cause.rank)) cause.node = ranks_[cause.rank].node;
  Consider(std::move(cause));
}

// --- Launching ---

std::vector<Node> ReplicaSupervisor::UsableNodes() const {
  std::vector<Node> usable;
  for (const auto& [name, node] : nodes_) {
    if (uncleared_.count(name) == 0) usable.push_back(node);
  }
  return usable;
}

void ReplicaSupervisor::ReportMissingNodes(size_t num_nodes) {
  if (num_nodes == last_num_nodes_reported_) return;
  last_num_nodes_reported_ = num_nodes;
  if (num_nodes == 0) return;
  std::vector<std::string> names;
  for (const auto& [name, node] : nodes_) names.push_back(name);
  Log(LogLevel::kInfo,
      absl::StrCat(num_nodes, " of ", options_.num_nodes, " nodes joined (",
                   absl::StrJoin(names, ", "), "), waiting for ",
                   options_.num_nodes - static_cast<int>(num_nodes), " more"));
}

void ReplicaSupervisor::TryLaunch() {
  if (stopping_) return;
  const std::vector<Node> nodes = UsableNodes();
  const size_t needed =
      has_run_ ? 1 : static_cast<size_t>(std::max(1, options_.num_nodes));
  if (nodes.size() < needed) {
    if (!has_run_) ReportMissingNodes(nodes.size());
    if (state_ != ReplicaState::kWaitingForNodes) {
      Enter(ReplicaState::kWaitingForNodes);
    }
    return;
  }
  absl::StatusOr<v1::EnginePlan> plan = options_.plan(nodes);
  if (!plan.ok()) return OnPlanFailed(plan.status());
  last_plan_error_.clear();
  plan_ = *std::move(plan);
  if (MeetsAtEndpoints()) {
    absl::StatusOr<std::string> secret = options_.draw_secret();
    if (!secret.ok()) return OnPlanFailed(secret.status());
    plan_.set_meeting_secret(*std::move(secret));
  }
  ++epoch_;
  plan_.set_replica(options_.replica);
  plan_.set_epoch(epoch_);
  ranks_ = RankStates(plan_, clock_->Now());
  relays_.Clear();
  cause_.reset();
  started_ = false;
  Enter(ReplicaState::kLaunching);
  SendLaunch();
}

void ReplicaSupervisor::OnPlanFailed(const absl::Status& status) {
  Enter(ReplicaState::kWaitingForNodes);
  if (!has_run_) {
    actions_.emplace_back(GiveUp{status});
    return;
  }
  if (last_plan_error_ == status.message()) return;
  last_plan_error_ = std::string(status.message());
  Log(LogLevel::kWarning,
      absl::StrCat("waiting for more nodes: the live ones cannot run the "
                   "model: ",
                   status.message()));
}

void ReplicaSupervisor::SendLaunch() {
  if (plan_.ranks_size() == 1 || plan_.ranks(0).device() == "simulated") {
    return SendLaunchEngines();
  }
  const absl::StatusOr<std::vector<std::string>> subnets =
      DataSubnets(PlannedNodes());
  if (!subnets.ok()) {
    return Consider({.evidence = Evidence::kLaunchFailed,
                     .code = subnets.status().code(),
                     .reason = std::string(subnets.status().message())});
  }
  MeetsAtEndpoints() ? SendLaunchEngines() : SendLaunchMpi(*subnets);
}

std::vector<Node> ReplicaSupervisor::PlannedNodes() const {
  std::vector<Node> nodes;
  std::set<std::string> names;
  for (const v1::RankPlan& rank : plan_.ranks()) {
    if (names.insert(rank.node()).second) {
      nodes.push_back(nodes_.at(rank.node()));
    }
  }
  return nodes;
}

void ReplicaSupervisor::SendLaunchEngines() {
  for (const v1::RankPlan& rank : plan_.ranks()) {
    v1::AgentCommand command;
    v1::LaunchEngine* launch = command.mutable_launch_engine();
    launch->set_replica(options_.replica);
    launch->set_epoch(epoch_);
    launch->set_rank(rank.rank());
    launch->set_device(rank.device());
    launch->set_is_dialed(MeetsAtEndpoints());
    launch->set_device_uuid(rank.device_uuid());
    Command(rank.node(), std::move(command));
  }
}

void ReplicaSupervisor::SendLaunchMpi(const std::vector<std::string>& subnets) {
  v1::AgentCommand command;
  v1::LaunchMpi* launch = command.mutable_launch_mpi();
  launch->set_replica(options_.replica);
  launch->set_epoch(epoch_);
  for (const v1::RankPlan& rank : plan_.ranks()) {
    const int last = launch->hosts_size() - 1;
    v1::MpiHost* host = last >= 0 && launch->hosts(last).node() == rank.node()
                            ? launch->mutable_hosts(last)
                            : launch->add_hosts();
    host->set_node(rank.node());
    host->set_slots(host->slots() + 1);
  }
  for (const std::string& subnet : subnets) launch->add_subnets(subnet);
  Command(plan_.ranks(0).node(), std::move(command));
}

// --- Engines ---

absl::Status ReplicaSupervisor::OnEngineHello(const v1::EngineReport& report) {
  if (report.replica() != options_.replica || report.epoch() != epoch_ ||
      !IsActive()) {
    return absl::FailedPreconditionError(
        absl::StrCat("replica ", report.replica(), " epoch ", report.epoch(),
                     " is not being started; the coordinator is at epoch ",
                     epoch_, ", ", Name(state_)));
  }
  if (MeetsAtEndpoints() && report.hello().endpoint().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rank ", report.rank(), " does not say where the others can dial it"));
  }
  const absl::Status status =
      ranks_.OnHello(report.rank(), report.hello(), clock_->Now());
  if (!status.ok()) return status;
  if (!MeetsAtEndpoints()) {
    SendPlan(report.rank());
  } else {
    plan_.mutable_ranks(report.rank())->set_endpoint(report.hello().endpoint());
    // Nobody can dial whoever is not there yet.
    for (int rank = 0; ranks_.AllGreeted() && rank < plan_.ranks_size();
         ++rank) {
      SendPlan(rank);
    }
  }
  if (state_ == ReplicaState::kLaunching && ranks_.AllGreeted()) {
    Enter(ReplicaState::kLoading);
  }
  return absl::OkStatus();
}

bool ReplicaSupervisor::MeetsAtEndpoints() const {
  return plan_.ranks_size() > 1 &&
         std::any_of(
             plan_.ranks().begin(), plan_.ranks().end(),
             [](const v1::RankPlan& rank) { return rank.device() == "cuda"; });
}

void ReplicaSupervisor::SendPlan(int rank) {
  ToEngine plan{.rank = rank};
  plan.command.set_replica(options_.replica);
  plan.command.set_epoch(epoch_);
  *plan.command.mutable_plan() = plan_;
  actions_.emplace_back(std::move(plan));
}

void ReplicaSupervisor::OnEngineReport(const v1::EngineReport& report) {
  if (report.replica() != options_.replica || report.epoch() != epoch_ ||
      !IsActive() || !ranks_.Has(report.rank())) {
    return;
  }
  const absl::Time now = clock_->Now();
  switch (report.report_case()) {
    case v1::EngineReport::kLoadProgress:
      ranks_.OnLoadProgress(report.rank(), report.load_progress(), now);
      break;
    case v1::EngineReport::kReady:
      ranks_.OnReady(report.rank(), report.ready(), now);
      StartIfReady();
      break;
    case v1::EngineReport::kFailure:
      Consider(
          CauseOf(report.failure(), report.rank(), ranks_[report.rank()].node));
      break;
    case v1::EngineReport::kHello:
    case v1::EngineReport::kStepResult:
    case v1::EngineReport::REPORT_NOT_SET:
      break;
  }
}

void ReplicaSupervisor::StartIfReady() {
  if (state_ != ReplicaState::kLoading || !ranks_.AllReady()) return;
  started_ = true;
  has_run_ = true;
  started_at_ = clock_->Now();
  steps_ = {};
  Enter(ReplicaState::kRunning);
  actions_.emplace_back(EpochStarted{plan_});
  ReportReturn();
}

// Who read that an epoch was lost waits for this line.
void ReplicaSupervisor::ReportReturn() {
  if (!lost_at_.has_value()) return;
  std::set<std::string> nodes;
  for (const v1::RankPlan& rank : plan_.ranks()) nodes.insert(rank.node());
  const absl::Duration away =
      absl::Trunc(clock_->Now() - *lost_at_, absl::Milliseconds(100));
  Log(LogLevel::kInfo,
      absl::StrCat("replica ", options_.replica, " runs again after ",
                   absl::FormatDuration(away), ": epoch ", epoch_, ", ",
                   plan_.ranks_size(), " ranks on ",
                   absl::StrJoin(nodes, ", ")));
  lost_at_.reset();
}

void ReplicaSupervisor::OnEngineGone(uint64_t epoch, int rank) {
  if (epoch != epoch_ || !ranks_.Has(rank)) return;
  Consider({.evidence = Evidence::kStreamLost,
            .rank = rank,
            .node = ranks_[rank].node,
            .reason = "its connection to the coordinator broke"});
}

void ReplicaSupervisor::OnStepError(const absl::Status& status) {
  Consider(
      {.evidence = Evidence::kEngineFailed,
       .code = status.code(),
       .reason = absl::StrCat("step protocol broken: ", status.message())});
}

}  // namespace caravan::coordinator
