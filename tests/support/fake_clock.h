// A clock that moves only when a test says so.
#ifndef CARAVAN_TESTS_SUPPORT_FAKE_CLOCK_H_
#define CARAVAN_TESTS_SUPPORT_FAKE_CLOCK_H_

#include <list>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace caravan::testing {

// Thread-safe. A thread in AwaitWithDeadline wakes when its condition holds or
// Advance() passes its deadline.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::UnixEpoch());

  absl::Time Now() const override;
  bool AwaitWithDeadline(absl::Mutex* mutex, const absl::Condition& condition,
                         absl::Time deadline) override;

  void Advance(absl::Duration duration);

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  std::list<absl::Mutex*> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_FAKE_CLOCK_H_
