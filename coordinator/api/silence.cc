#include "coordinator/api/silence.h"

#include <algorithm>

namespace caravan::coordinator {

Silence::Silence(const Clock* clock, absl::Duration longest)
    : clock_(*clock), longest_(longest), began_(clock->Now()) {}

void Silence::Break() { began_ = clock_.Now(); }

absl::Duration Silence::left() const {
  return std::clamp(began_ + longest_ - clock_.Now(), absl::ZeroDuration(),
                    longest_);
}

}  // namespace caravan::coordinator
