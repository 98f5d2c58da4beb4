// What is known of each rank of the running epoch.
#ifndef CARAVAN_COORDINATOR_CLUSTER_RANK_STATES_H_
#define CARAVAN_COORDINATOR_CLUSTER_RANK_STATES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "caravan/v1/agent.pb.h"
#include "caravan/v1/engine.pb.h"
#include "caravan/v1/plan.pb.h"

namespace caravan::coordinator {

struct RankState {
  std::string node;
  int64_t pid = 0;  // 0: it has not said hello
  bool ready = false;
  int64_t loaded_bytes = 0;
  int64_t total_bytes = 0;
  int64_t resident_bytes = 0;
  std::string instruction_set;
  int num_threads = 0;
  // As of its node's last heartbeat.
  uint64_t step = 0;
  std::string phase;
  uint64_t ticks = 0;
  // When anything of the above last changed.
  absl::Time last_sign;
};

// One per epoch; one thread.
class RankStates final {
 public:
  RankStates() = default;
  RankStates(const v1::EnginePlan& plan, absl::Time now);

  // kFailedPrecondition: the rank does not exist, has said hello before, or
  // belongs to another node.
  absl::Status OnHello(int rank, const v1::EngineHello& hello, absl::Time now);
  void OnLoadProgress(int rank, const v1::LoadProgress& progress,
                      absl::Time now);
  void OnReady(int rank, const v1::EngineReady& ready, absl::Time now);
  // Entries of ranks that `node` does not run are ignored.
  void OnProgress(absl::string_view node, const v1::EngineProgress& progress,
                  absl::Time now);

  bool AllGreeted() const;
  bool AllReady() const;
  int FirstNotGreeted() const;  // -1: none

  // The rank that is not ready and has given no sign for longest; -1: none.
  int LongestSilentBeforeReady() const;

  // Who holds the others up while a step makes no progress: a rank whose ticks
  // have stood still for `still`, rather one that works than one that waits for
  // others, and of those the one that is behind, or the stillest; else one that
  // works; -1 when all wait.
  int FindStuck(absl::Time now, absl::Duration still) const;

  // Rank of the process, -1: none.
  int FindByPid(absl::string_view node, int64_t pid) const;

  bool Has(int rank) const {
    return rank >= 0 && rank < static_cast<int>(ranks_.size());
  }
  const RankState& operator[](int rank) const { return ranks_[rank]; }
  const std::vector<RankState>& ranks() const { return ranks_; }

 private:
  std::vector<RankState> ranks_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_RANK_STATES_H_
