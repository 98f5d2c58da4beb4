// Kills marked processes until none is left.
#ifndef CARAVAN_WORKER_AGENT_EPOCH_KILLER_H_
#define CARAVAN_WORKER_AGENT_EPOCH_KILLER_H_

#include <sys/types.h>

#include <functional>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "base/clock.h"
#include "worker/agent/mark.h"

namespace caravan::worker {

// Does not block: call Look() again every kInterval while it returns false. One
// thread.
class EpochKiller final {
 public:
  static constexpr absl::Duration kInterval = absl::Milliseconds(10);
  static constexpr absl::Duration kTimeout = absl::Seconds(5);

  // Kills what carries a mark that `wanted` accepts.
  EpochKiller(std::function<bool(const Mark&)> wanted, Clock& clock);

  // Looks once, sends SIGKILL to what it finds; true when it is over: nothing
  // was left in two looks in a row, or the time is up.
  bool Look();

  int num_killed() const { return static_cast<int>(killed_.size()); }
  // Names what did not die in time; empty when all is well.
  const std::string& problem() const { return problem_; }

 private:
  const std::function<bool(const Mark&)> wanted_;
  Clock& clock_;
  const absl::Time deadline_;
  std::set<pid_t> killed_;
  int num_clean_looks_ = 0;
  std::string problem_;
};

// Look() until it is over; blocks for up to kTimeout.
void KillAll(EpochKiller& killer, Clock& clock);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_EPOCH_KILLER_H_
