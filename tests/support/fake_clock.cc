#include "tests/support/fake_clock.h"

#include <vector>

namespace caravan::testing {

FakeClock::FakeClock(absl::Time start) : now_(start) {}

absl::Time FakeClock::Now() const {
  absl::MutexLock lock(&mutex_);
  return now_;
}

bool FakeClock::AwaitWithDeadline(
    absl::Mutex* mutex, const absl::Condition& condition,
    absl::Time deadline) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  struct State {
    FakeClock* clock;
    const absl::Condition* condition;
    absl::Time deadline;
  } state{this, &condition, deadline};
  std::list<absl::Mutex*>::iterator place;
  {
    absl::MutexLock lock(&mutex_);
    place = waiting_.insert(waiting_.end(), mutex);
  }
  mutex->Await(absl::Condition(
      +[](State* s) {
        return s->condition->Eval() || s->clock->Now() >= s->deadline;
      },
      &state));
  {
    absl::MutexLock lock(&mutex_);
    waiting_.erase(place);
  }
  return condition.Eval();
}

void FakeClock::Advance(absl::Duration duration) {
  std::vector<absl::Mutex*> waiting;
  {
    absl::MutexLock lock(&mutex_);
    now_ += duration;
    waiting.assign(waiting_.begin(), waiting_.end());
  }
  // Unlocking a mutex makes abseil evaluate the conditions of its waiters.
  for (absl::Mutex* mutex : waiting) absl::MutexLock lock(mutex);
}

}  // namespace caravan::testing
