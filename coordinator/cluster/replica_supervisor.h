// Keeps one replica running: launches its engines, notices their failure, has
// them killed, launches them again.
#ifndef CARAVAN_COORDINATOR_CLUSTER_REPLICA_SUPERVISOR_H_
#define CARAVAN_COORDINATOR_CLUSTER_REPLICA_SUPERVISOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "caravan/v1/agent.pb.h"
#include "caravan/v1/engine.pb.h"
#include "caravan/v1/plan.pb.h"
#include "coordinator/cluster/epoch_cause.h"
#include "coordinator/cluster/membership.h"
#include "coordinator/cluster/rank_states.h"
#include "coordinator/cluster/relay_router.h"
#include "coordinator/cluster/step_watch.h"

namespace caravan::coordinator {

// What the supervisor wants done, in order.
struct ToEngine {
  int rank = 0;
  v1::EngineCommand command;
};
// All engines of the epoch are ready.
struct EpochStarted {
  v1::EnginePlan plan;
};
// Results of the epoch no longer count; its engines' streams are closed.
struct EpochEnded {
  uint64_t epoch = 0;
  bool had_started = false;
  absl::Status status;  // for requests in flight
};
struct LogLine {
  LogLevel level = LogLevel::kInfo;
  std::string text;
};
// The replica cannot run, and trying again would not help.
struct GiveUp {
  absl::Status status;
};
using SupervisorAction =
    std::variant<ToAgent, ToEngine, EpochStarted, EpochEnded, LogLine, GiveUp>;

enum class ReplicaState {
  kWaitingForNodes,
  kLaunching,   // processes start and say hello
  kLoading,     // engines read their weights
  kRunning,     // steps
  kDiagnosing,  // something failed: a moment to learn what
  kClearing,    // everything of the epoch is being killed
  kBackingOff,  // before the next epoch
  kStopped,
};
absl::string_view Name(ReplicaState state);

struct SupervisorOptions {
  uint64_t replica = 0;
  // Lays the replica over these nodes, which are sorted by name. Epoch and
  // replica are filled in here.
  std::function<absl::StatusOr<v1::EnginePlan>(const std::vector<Node>&)> plan;
  // A secret for each epoch, by which its ranks know each other.
  std::function<absl::StatusOr<std::string>()> draw_secret;
  int num_nodes = 1;  // that must have joined before the first epoch
  // Give up when the first epoch has failed so often; 0: never.
  int max_start_failures = 0;

  absl::Duration launch_timeout = absl::Seconds(60);
  absl::Duration load_timeout = absl::Seconds(120);  // without any progress
  absl::Duration diagnosis = absl::Milliseconds(500);
  absl::Duration clear_timeout = absl::Seconds(5);
  absl::Duration first_backoff = absl::Milliseconds(200);
  absl::Duration longest_backoff = absl::Seconds(10);
  // An epoch that completed a step or ran so long was a success: back-off
  // begins anew.
  absl::Duration success_after = absl::Seconds(10);
};

// A state machine: events in, actions out (TakeActions after each event). It
// knows no thread, stream or process. One thread.
//
// Life of an epoch: enough nodes -> plan, launch -> every engine says hello and
// gets the plan -> loads -> all are ready: EpochStarted -> steps -> first
// symptom of a failure -> a short diagnosis, one log line with the cause ->
// EpochEnded, KillEpoch to every live agent, EpochCleared from each -> back-off
// -> the next epoch over the nodes that are live then. A node that cannot prove
// that nothing of an epoch is left is not used.
class ReplicaSupervisor final {
 public:
  // `clock` outlives this.
  ReplicaSupervisor(SupervisorOptions options, Clock* clock);

  void OnNodeJoined(const Node& node);
  void OnNodeLost(const LostNode& lost);
  // Everything that a live node's agent reports but its hello.
  void OnAgentReport(absl::string_view node, const v1::AgentReport& report);

  // kFailedPrecondition: this engine has no place in the running epoch.
  absl::Status OnEngineHello(const v1::EngineReport& report);
  // Reports of other epochs are dropped; step results are not for this.
  void OnEngineReport(const v1::EngineReport& report);
  void OnEngineGone(uint64_t epoch, int rank);
  // The scheduler met a result that the protocol does not allow.
  void OnStepError(const absl::Status& status);

  // To be called at NextWake() at the latest.
  void Tick(const StepView& steps);
  absl::Time NextWake() const;

  // Ends the epoch for good: kills everything, starts nothing again. Done when
  // IsCleared().
  void Stop();
  bool IsCleared() const;

  std::vector<SupervisorAction> TakeActions();

  ReplicaState state() const { return state_; }
  uint64_t epoch() const { return epoch_; }
  // Of the epoch that is running or being started; empty in between.
  const v1::EnginePlan& plan() const { return plan_; }
  const RankStates& ranks() const { return ranks_; }
  const std::string& last_cause() const { return last_cause_; }

 private:
  bool IsActive() const;  // launching to diagnosing
  void Enter(ReplicaState state);
  void Log(LogLevel level, std::string text);
  void Command(absl::string_view node, v1::AgentCommand command);

  void TryLaunch();
  std::vector<Node> UsableNodes() const;
  void ReportMissingNodes(size_t num_nodes);
  void OnPlanFailed(const absl::Status& status);
  void SendLaunch();
  std::vector<Node> PlannedNodes() const;
  void SendLaunchEngines();
  void SendLaunchMpi(const std::vector<std::string>& subnets);
  // Whether plans wait until it is known where each rank can be dialed.
  bool MeetsAtEndpoints() const;
  void SendPlan(int rank);

  void OnProcessExited(absl::string_view node, const v1::ProcessExited& exited);
  void OnEpochCleared(absl::string_view node, const v1::EpochCleared& cleared);
  void StartIfReady();
  void ReportReturn();

  // A symptom of a failure.
  void Consider(EpochCause cause);
  void CheckDeadlines(absl::Time now);
  void CheckStall(absl::Time now);
  bool SomeNodeIsSilent(absl::Time now) const;
  // Names the cause and ends the epoch.
  void Conclude();
  void CompleteCause();
  void KillAndClear(const absl::Status& status);
  void SendKill(absl::string_view node);
  void FinishClearing();

  const SupervisorOptions options_;
  Clock* const clock_;
  std::vector<SupervisorAction> actions_;

  ReplicaState state_ = ReplicaState::kWaitingForNodes;
  absl::Time entered_;  // this state
  uint64_t epoch_ = 0;
  v1::EnginePlan plan_;
  RankStates ranks_;
  RelayRouter relays_;
  bool started_ = false;  // EpochStarted was sent for this epoch
  bool has_run_ = false;  // for any epoch
  bool stopping_ = false;
  absl::Time started_at_;
  // When the epoch that ran last was lost, until the next one runs.
  std::optional<absl::Time> lost_at_;
  StepView steps_;  // of this epoch, as of the last Tick

  std::map<std::string, Node, std::less<>> nodes_;
  std::map<std::string, absl::Time, std::less<>> heard_;
  // Nodes that still have to prove that nothing is left of the epoch and all
  // before it.
  struct Uncleared {
    uint64_t epoch = 0;
    absl::Time asked;
  };
  std::map<std::string, Uncleared, std::less<>> uncleared_;
  size_t last_num_nodes_reported_ = 0;
  std::string last_plan_error_;

  std::optional<EpochCause> cause_;
  std::string last_cause_;
  int num_start_failures_ = 0;
  absl::Time not_before_ = absl::InfinitePast();
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_REPLICA_SUPERVISOR_H_
