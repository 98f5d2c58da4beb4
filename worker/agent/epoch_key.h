// Which launch of which replica something belongs to.
#ifndef CARAVAN_WORKER_AGENT_EPOCH_KEY_H_
#define CARAVAN_WORKER_AGENT_EPOCH_KEY_H_

#include <compare>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

namespace caravan::worker {

struct EpochKey {
  uint64_t replica = 0;
  uint64_t epoch = 0;

  friend auto operator<=>(const EpochKey&, const EpochKey&) = default;

  // "r0 e3", as in log lines.
  std::string DebugString() const {
    return absl::StrCat("r", replica, " e", epoch);
  }
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_EPOCH_KEY_H_
