#include "worker/agent/epoch_killer.h"

#include <signal.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "worker/agent/pidfd.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {
namespace {

// A process in the middle of fork or exec may be missed by one look.
constexpr int kCleanLooks = 2;

std::string Describe(const MarkedProcess& process) {
  const absl::StatusOr<std::string> name =
      ReadSmallFile(absl::StrCat("/proc/", process.pid, "/comm"), 256);
  return absl::StrCat(
      "pid ", process.pid, " (",
      name.ok() ? absl::StripTrailingAsciiWhitespace(*name) : "gone", ") of ",
      process.mark.epoch.DebugString(), " does not die of SIGKILL");
}

}  // namespace

EpochKiller::EpochKiller(std::function<bool(const Mark&)> wanted, Clock& clock)
    : wanted_(std::move(wanted)),
      clock_(clock),
      deadline_(clock.Now() + kTimeout) {}

bool EpochKiller::Look() {
  const std::vector<MarkedProcess> found = FindMarked(wanted_);
  for (const MarkedProcess& process : found) {
    const UniqueFd pidfd = OpenPidfd(process.pid);
    // The number may have gone to another process since the look: only a mark
    // read while the descriptor is held counts.
    const std::optional<Mark> mark = ReadMark(process.pid);
    if (!pidfd.valid() || !mark || !wanted_(*mark)) continue;
    if (SignalPidfd(pidfd, SIGKILL)) {
      killed_.insert(process.pid);
    }
  }
  num_clean_looks_ = found.empty() ? num_clean_looks_ + 1 : 0;
  if (num_clean_looks_ >= kCleanLooks) return true;
  if (clock_.Now() < deadline_) return false;
  problem_ = found.empty() ? "" : Describe(found.front());
  return true;
}

void KillAll(EpochKiller& killer, Clock& clock) {
  absl::Mutex mutex;
  const bool never = false;
  while (!killer.Look()) {
    absl::MutexLock lock(&mutex);
    clock.AwaitWithDeadline(&mutex, absl::Condition(&never),
                            clock.Now() + EpochKiller::kInterval);
  }
}

}  // namespace caravan::worker
