// The half of ReplicaSupervisor that deals with failure: deadlines, the choice
// of the cause, the verified end of an epoch.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/progress_page.h"
#include "coordinator/cluster/replica_supervisor.h"

namespace caravan::coordinator {
namespace {

// A node that could not prove that it is clean is asked again so often.
constexpr absl::Duration kAskAgainAfter = absl::Seconds(1);
// Ticks are seen twice a second; still for longer means standing still.
constexpr absl::Duration kStill = absl::Seconds(2);
// Heartbeats come twice a second; a node silent for longer may be lost, which
// its lease will tell.
constexpr absl::Duration kSilent = absl::Milliseconds(1500);

constexpr char kLostMessage[] =
    "the model's engines were lost and are being started again; send the "
    "request again";

// What is the same at the next attempt.
bool IsPermanent(const EpochCause& cause) {
  if (cause.evidence != Evidence::kEngineFailed) return false;
  switch (cause.code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

}  // namespace

// --- Time ---

void ReplicaSupervisor::Tick(const StepView& steps) {
  const absl::Time now = clock_->Now();
  if (started_) steps_ = steps;
  if (state_ == ReplicaState::kDiagnosing &&
      now - entered_ >= options_.diagnosis) {
    Conclude();
  }
  CheckDeadlines(now);
  CheckStall(now);
  if (state_ == ReplicaState::kClearing &&
      now - entered_ >= options_.clear_timeout) {
    FinishClearing();
  }
  for (const auto& [name, pending] : std::map(uncleared_)) {
    if (now - pending.asked >= kAskAgainAfter) SendKill(name);
  }
  if (state_ == ReplicaState::kBackingOff && now >= not_before_) TryLaunch();
}

absl::Time ReplicaSupervisor::NextWake() const {
  switch (state_) {
    case ReplicaState::kDiagnosing:
      return entered_ + options_.diagnosis;
    case ReplicaState::kClearing:
      return entered_ + options_.clear_timeout;
    case ReplicaState::kBackingOff:
      return not_before_;
    case ReplicaState::kLaunching:
    case ReplicaState::kLoading:
    case ReplicaState::kRunning:
    case ReplicaState::kWaitingForNodes:
    case ReplicaState::kStopped:
      // Deadlines of seconds: a look every now and then.
      return clock_->Now() + absl::Milliseconds(250);
  }
  return absl::InfiniteFuture();
}

void ReplicaSupervisor::CheckDeadlines(absl::Time now) {
  if (state_ == ReplicaState::kLaunching &&
      now - entered_ >= options_.launch_timeout) {
    const int rank = ranks_.FirstNotGreeted();
    Consider({.evidence = Evidence::kStalled,
              .code = absl::StatusCode::kDeadlineExceeded,
              .rank = rank,
              .node = ranks_[rank].node,
              .reason =
                  absl::StrCat("it did not report to the coordinator within ",
                               absl::FormatDuration(options_.launch_timeout))});
  }
  if (state_ != ReplicaState::kLoading) return;
  const int rank = ranks_.LongestSilentBeforeReady();
  if (rank < 0 || now - ranks_[rank].last_sign < options_.load_timeout) return;
  Consider({.evidence = Evidence::kStalled,
            .code = absl::StatusCode::kDeadlineExceeded,
            .rank = rank,
            .node = ranks_[rank].node,
            .phase = "load",
            .reason = absl::StrCat("no progress for ",
                                   absl::FormatDuration(options_.load_timeout),
                                   " at ", ranks_[rank].loaded_bytes, " of ",
                                   ranks_[rank].total_bytes, " bytes")});
}

bool ReplicaSupervisor::SomeNodeIsSilent(absl::Time now) const {
  for (const auto& [name, heard] : heard_) {
    if (now - heard >= kSilent) return true;
  }
  return false;
}

void ReplicaSupervisor::CheckStall(absl::Time now) {
  if (state_ != ReplicaState::kRunning || steps_.in_flight == 0) return;
  const absl::Duration waited = now - steps_.since;
  // A lost host stops the steps too: its lease decides first.
  if (waited < steps_.allowance || SomeNodeIsSilent(now)) return;
  const int rank = ranks_.FindStuck(now, kStill);
  EpochCause cause = {
      .evidence = Evidence::kStalled,
      .code = absl::StatusCode::kDeadlineExceeded,
      .rank = rank,
      .step = steps_.oldest_step,
      .reason = absl::StrCat(
          "no progress for ",
          absl::FormatDuration(absl::Trunc(waited, absl::Milliseconds(100))))};
  if (rank >= 0) {
    cause.node = ranks_[rank].node;
    cause.phase = ranks_[rank].phase;
  } else {
    absl::StrAppend(&cause.reason, ", every rank waits for another");
  }
  Consider(std::move(cause));
}

// --- The end of an epoch ---

void ReplicaSupervisor::Consider(EpochCause cause) {
  if (!IsActive()) return;
  const bool is_better =
      !cause_.has_value() || cause.evidence > cause_->evidence;
  if (is_better) cause_ = std::move(cause);
  if (state_ != ReplicaState::kDiagnosing) Enter(ReplicaState::kDiagnosing);
  if (IsConclusive(cause_->evidence)) Conclude();
}

// Says where it happened, as far as that is known.
void ReplicaSupervisor::CompleteCause() {
  if (cause_->phase.empty() && ranks_.Has(cause_->rank)) {
    cause_->step = std::max(cause_->step, ranks_[cause_->rank].step);
    cause_->phase = ranks_[cause_->rank].phase;
  }
  if (!started_) return;
  if (cause_->step == 0) cause_->step = steps_.oldest_step;
  // Of before the first step: as old as the last heartbeat.
  if (cause_->phase == Name(EnginePhase::kStarting) ||
      cause_->phase == Name(EnginePhase::kLoading)) {
    cause_->phase.clear();
  }
}

void ReplicaSupervisor::Conclude() {
  CompleteCause();
  last_cause_ = DescribeEnd(options_.replica, epoch_, *cause_);
  Log(LogLevel::kError, last_cause_);
  const bool was_success =
      started_ && (steps_.completed > 0 ||
                   clock_->Now() - started_at_ >= options_.success_after);
  if (started_ && !lost_at_.has_value()) lost_at_ = clock_->Now();
  num_start_failures_ = was_success ? 1 : num_start_failures_ + 1;
  const bool is_hopeless =
      !has_run_ && options_.max_start_failures > 0 &&
      (num_start_failures_ >= options_.max_start_failures ||
       IsPermanent(*cause_));
  const absl::Duration backoff = std::min(
      options_.longest_backoff,
      options_.first_backoff * (1 << std::min(num_start_failures_ - 1, 16)));
  not_before_ = clock_->Now() + backoff;
  KillAndClear(absl::UnavailableError(kLostMessage));
  if (is_hopeless) {
    actions_.emplace_back(GiveUp{absl::Status(cause_->code, last_cause_)});
  }
}

void ReplicaSupervisor::KillAndClear(const absl::Status& status) {
  actions_.emplace_back(
      EpochEnded{.epoch = epoch_, .had_started = started_, .status = status});
  started_ = false;
  relays_.Clear();
  Enter(ReplicaState::kClearing);
  for (const auto& [name, node] : nodes_) SendKill(name);
  if (IsCleared()) FinishClearing();
}

void ReplicaSupervisor::SendKill(absl::string_view node) {
  const uint64_t epoch = IsActive() ? epoch_ - 1 : epoch_;
  if (epoch == 0) return;
  uncleared_[std::string(node)] = {.epoch = epoch, .asked = clock_->Now()};
  v1::AgentCommand command;
  command.mutable_kill_epoch()->set_replica(options_.replica);
  command.mutable_kill_epoch()->set_epoch(epoch);
  Command(node, std::move(command));
}

void ReplicaSupervisor::OnEpochCleared(absl::string_view node,
                                       const v1::EpochCleared& cleared) {
  const auto it = uncleared_.find(node);
  if (it == uncleared_.end() || cleared.replica() != options_.replica ||
      cleared.epoch() < it->second.epoch) {
    return;
  }
  if (!cleared.problem().empty()) {
    // It is asked again, and not used until it is clean.
    Log(LogLevel::kWarning,
        absl::StrCat("replica ", options_.replica, " epoch ", cleared.epoch(),
                     " is not gone from node ", node, ": ", cleared.problem()));
    return;
  }
  uncleared_.erase(it);
  if (state_ == ReplicaState::kClearing && IsCleared()) FinishClearing();
  if (state_ == ReplicaState::kWaitingForNodes) TryLaunch();
}

bool ReplicaSupervisor::IsCleared() const { return uncleared_.empty(); }

void ReplicaSupervisor::FinishClearing() {
  for (const auto& [name, pending] : uncleared_) {
    Log(LogLevel::kWarning,
        absl::StrCat("node ", name, " has not proved within ",
                     absl::FormatDuration(options_.clear_timeout),
                     " that nothing of epoch ", pending.epoch,
                     " is left; it is not used until it has"));
  }
  Enter(stopping_ ? ReplicaState::kStopped : ReplicaState::kBackingOff);
}

void ReplicaSupervisor::Stop() {
  if (stopping_) return;
  stopping_ = true;
  if (IsActive()) {
    KillAndClear(absl::UnavailableError("the server is shutting down"));
  } else if (state_ != ReplicaState::kClearing) {
    Enter(ReplicaState::kStopped);
  }
}

}  // namespace caravan::coordinator
