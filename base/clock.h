// Time enters the code here, so that leases, time-outs and back-off can be
// tested by advancing a fake (tests/support/fake_clock.h).
#ifndef CARAVAN_BASE_CLOCK_H_
#define CARAVAN_BASE_CLOCK_H_

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace caravan {

// Thread-safe. Implementations outlive all their users.
class Clock {
 public:
  virtual ~Clock() = default;

  virtual absl::Time Now() const = 0;

  // Blocks until `condition` holds or the clock reaches `deadline`; `mutex`
  // must be held and is held again on return. Returns whether the condition
  // holds.
  virtual bool AwaitWithDeadline(absl::Mutex* mutex,
                                 const absl::Condition& condition,
                                 absl::Time deadline) = 0;
};

// The machine's clock. Never deleted.
Clock& RealClock();

}  // namespace caravan

#endif  // CARAVAN_BASE_CLOCK_H_
