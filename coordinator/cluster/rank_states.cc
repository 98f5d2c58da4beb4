#include "coordinator/cluster/rank_states.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace caravan::coordinator {
namespace {

// Phases in which a rank waits for another one (base/progress_page.h).
bool WaitsForOthers(absl::string_view phase) {
  return phase == "receive" || phase == "all-reduce" || phase == "send" ||
         phase == "idle";
}

}  // namespace

RankStates::RankStates(const v1::EnginePlan& plan, absl::Time now) {
  ranks_.resize(plan.ranks_size());
  for (const v1::RankPlan& rank : plan.ranks()) {
    RankState& state = ranks_[rank.rank()];
    state.node = rank.node();
    state.last_sign = now;
  }
}

absl::Status RankStates::OnHello(int rank, const v1::EngineHello& hello,
                                 absl::Time now) {
  if (!Has(rank)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "rank ", rank, " does not exist; there are ", ranks_.size(), " ranks"));
  }
  RankState& state = ranks_[rank];
  if (state.pid != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "rank ", rank, " is process ", state.pid, " on ", state.node,
        " already, not ", hello.pid(), " on ", hello.node()));
  }
  if (state.node != hello.node()) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", rank, " belongs on node ", state.node,
                     ", but was started on ", hello.node()));
  }
  state.pid = hello.pid();
  state.last_sign = now;
  return absl::OkStatus();
}

void RankStates::OnLoadProgress(int rank, const v1::LoadProgress& progress,
                                absl::Time now) {
  if (!Has(rank)) return;
  RankState& state = ranks_[rank];
  if (state.loaded_bytes != progress.loaded_bytes()) state.last_sign = now;
  state.loaded_bytes = progress.loaded_bytes();
  state.total_bytes = progress.total_bytes();
}

void RankStates::OnReady(int rank, const v1::EngineReady& ready,
                         absl::Time now) {
  if (!Has(rank)) return;
  RankState& state = ranks_[rank];
  state.ready = true;
  state.loaded_bytes = state.total_bytes;
  state.resident_bytes = ready.resident_bytes();
  state.instruction_set = ready.instruction_set();
  state.num_threads = ready.num_threads();
  state.last_sign = now;
}

void RankStates::OnProgress(absl::string_view node,
                            const v1::EngineProgress& progress,
                            absl::Time now) {
  if (!Has(progress.rank())) return;
  RankState& state = ranks_[progress.rank()];
  if (state.node != node) return;
  if (state.ticks != progress.ticks() || state.step != progress.step() ||
      state.phase != progress.phase()) {
    state.last_sign = now;
  }
  state.ticks = progress.ticks();
  state.step = progress.step();
  state.phase = progress.phase();
  if (progress.resident_bytes() > 0) {
    state.resident_bytes = progress.resident_bytes();
  }
}

bool RankStates::AllGreeted() const { return FirstNotGreeted() < 0; }

bool RankStates::AllReady() const {
  return std::all_of(ranks_.begin(), ranks_.end(),
                     [](const RankState& rank) { return rank.ready; });
}

int RankStates::FirstNotGreeted() const {
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (ranks_[i].pid == 0) return static_cast<int>(i);
  }
  return -1;
}

int RankStates::LongestSilentBeforeReady() const {
  int found = -1;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (ranks_[i].ready) continue;
    if (found < 0 || ranks_[i].last_sign < ranks_[found].last_sign) {
      found = static_cast<int>(i);
    }
  }
  return found;
}

int RankStates::FindStuck(absl::Time now, absl::Duration still) const {
  const auto is_still = [&](const RankState& rank) {
    return now - rank.last_sign >= still;
  };
  // Less is likelier. Ranks that have done all their steps are idle and do not
  // tick either, but one that is stopped is behind them.
  const auto innocence = [&](const RankState& rank) {
    return std::tuple(!is_still(rank), WaitsForOthers(rank.phase), rank.step,
                      rank.last_sign);
  };
  int found = -1;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    const RankState& rank = ranks_[i];
    if (!is_still(rank) && WaitsForOthers(rank.phase)) continue;
    if (found < 0 || innocence(rank) < innocence(ranks_[found])) {
      found = static_cast<int>(i);
    }
  }
  return found;
}

int RankStates::FindByPid(absl::string_view node, int64_t pid) const {
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (pid > 0 && ranks_[i].pid == pid && ranks_[i].node == node) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

}  // namespace caravan::coordinator
