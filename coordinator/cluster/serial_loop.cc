#include "coordinator/cluster/serial_loop.h"

#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace caravan::coordinator {

absl::Status SerialLoop::Start(std::function<absl::Time()> on_wake) {
  on_wake_ = std::move(on_wake);
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot start a thread: ", error.what()));
  }
  return absl::OkStatus();
}

void SerialLoop::Post(Task task) {
  absl::MutexLock lock(&mutex_);
  if (!stopped_) tasks_.push_back(std::move(task));
}

void SerialLoop::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void SerialLoop::Run() {
  absl::Time wake = on_wake_();
  while (true) {
    std::deque<Task> round;
    bool stopped = false;
    {
      absl::MutexLock lock(&mutex_);
      const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !tasks_.empty() || stopped_;
      };
      clock_->AwaitWithDeadline(&mutex_, absl::Condition(&ready), wake);
      round.swap(tasks_);
      stopped = stopped_ && round.empty();
    }
    if (stopped) return;
    for (Task& task : round) task();
    wake = on_wake_();
  }
}

}  // namespace caravan::coordinator
