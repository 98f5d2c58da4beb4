#include "coordinator/schedule/simulated_engine_group.h"

#include <utility>

#include "absl/status/statusor.h"

namespace caravan::coordinator {

SimulatedEngineGroup::SimulatedEngineGroup(SimulatedEngineGroupOptions options)
    : options_(std::move(options)),
      clock_(options_.clock != nullptr ? *options_.clock : RealClock()),
      engine_(options_.info, options_.vocabulary_size),
      pipeline_(options_.info.num_stages),
      thread_([this] { Run(); }) {}

SimulatedEngineGroup::~SimulatedEngineGroup() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void SimulatedEngineGroup::Issue(const v1::Step& step) {
  absl::MutexLock lock(&mutex_);
  if (!ended_) queue_.push_back({step, clock_.Now()});
}

void SimulatedEngineGroup::FailAtStep(uint64_t number,
                                      const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  fail_at_ = number;
  failure_ = status;
}

void SimulatedEngineGroup::SetStalled(bool stalled) {
  absl::MutexLock lock(&mutex_);
  stalled_ = stalled;
}

uint64_t SimulatedEngineGroup::steps_run() const {
  absl::MutexLock lock(&mutex_);
  return steps_run_;
}

int64_t SimulatedEngineGroup::num_sequences() const {
  absl::MutexLock lock(&mutex_);
  return num_sequences_;
}

int64_t SimulatedEngineGroup::num_blocks_used() const {
  absl::MutexLock lock(&mutex_);
  return num_blocks_used_;
}

void SimulatedEngineGroup::Run() {
  IssuedStep next;
  while (NextStep(&next)) {
    const absl::Status status = RunStep(next);
    if (status.ok()) continue;
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
      queue_.clear();
      if (stop_) return;
    }
    if (options_.on_end) options_.on_end(status);
    return;
  }
}

bool SimulatedEngineGroup::NextStep(IssuedStep* next) {
  absl::MutexLock lock(&mutex_);
  // An idle engine waits without a deadline, as a real one does in its stream.
  mutex_.Await(absl::Condition(
      +[](SimulatedEngineGroup* self)
           ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mutex_) {
             return self->stop_ || (!self->stalled_ && !self->queue_.empty());
           },
      this));
  if (stop_) return false;
  *next = std::move(queue_.front());
  queue_.pop_front();
  return true;
}

absl::Status SimulatedEngineGroup::RunStep(const IssuedStep& next) {
  {
    absl::MutexLock lock(&mutex_);
    if (fail_at_ != 0 && next.step.number() >= fail_at_) return failure_;
  }
  StepShape shape;
  const absl::StatusOr<v1::StepResult> result =
      engine_.Execute(next.step, &shape);
  if (!result.ok()) return result.status();
  // A step that only drops sequences passes in no time.
  const absl::Duration work =
      shape.num_rows == 0
          ? absl::ZeroDuration()
          : options_.per_step + options_.per_row * shape.num_rows;
  if (!WaitUntil(pipeline_.Finish(next.arrival, work, shape.needs_step))) {
    return absl::CancelledError("simulated engines are stopped");
  }
  {
    absl::MutexLock lock(&mutex_);
    ++steps_run_;
    num_sequences_ = engine_.num_sequences();
    num_blocks_used_ = engine_.num_blocks_used();
  }
  return options_.on_result ? options_.on_result(*result) : absl::OkStatus();
}

bool SimulatedEngineGroup::WaitUntil(absl::Time time) {
  absl::MutexLock lock(&mutex_);
  if (clock_.Now() < time) {
    clock_.AwaitWithDeadline(&mutex_, absl::Condition(&stop_), time);
  }
  return !stop_;
}

}  // namespace caravan::coordinator
