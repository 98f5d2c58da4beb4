// One thread that runs tasks in the order in which they were posted.
#ifndef CARAVAN_COORDINATOR_CLUSTER_SERIAL_LOOP_H_
#define CARAVAN_COORDINATOR_CLUSTER_SERIAL_LOOP_H_

#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace caravan::coordinator {

// Post is thread-safe; Start and Stop belong to the owner. What tasks touch
// needs no lock.
class SerialLoop final {
 public:
  using Task = absl::AnyInvocable<void()>;

  // `clock` outlives this.
  explicit SerialLoop(Clock* clock) : clock_(clock) {}
  ~SerialLoop() { Stop(); }

  // `on_wake` runs after each round of tasks and at the time that it returned
  // last. kResourceExhausted: no thread to be had.
  absl::Status Start(std::function<absl::Time()> on_wake);

  // Dropped after Stop.
  void Post(Task task);

  // Runs what has been posted, then joins the thread. Not from a task.
  void Stop();

 private:
  void Run();

  Clock* const clock_;
  std::function<absl::Time()> on_wake_;
  std::thread thread_;
  absl::Mutex mutex_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_SERIAL_LOOP_H_
