// The loop of an engine: begins steps as they come and reports their results.
#ifndef CARAVAN_WORKER_ENGINE_STEP_LOOP_H_
#define CARAVAN_WORKER_ENGINE_STEP_LOOP_H_

#include <cstdint>
#include <deque>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "caravan/v1/step.pb.h"
#include "worker/engine/step_executor.h"

namespace caravan::worker {

// Where steps come from and results go. Called by the loop's thread.
class StepHost {
 public:
  virtual ~StepHost() = default;

  // kDeadlineExceeded: none has come; any other error ends the loop.
  virtual absl::StatusOr<v1::Step> NextStep(absl::Time deadline) = 0;
  // Nothing is begun: the next step is waited for.
  virtual void OnIdle() = 0;
  // What happens from now on, errors too, belongs to this step.
  virtual void OnStep(uint64_t number) = 0;
  virtual void OnResult(v1::StepResult result) = 0;
};

// A step that is there is begun before the one before it is finished, where the
// executor lets it. A result leaves as soon as it is known: before another step
// is begun, where it is known by then.
class StepLoop final {
 public:
  // Both outlive it.
  StepLoop(StepExecutor& executor, StepHost& host)
      : executor_(executor), host_(host) {}

  // Until an error, which is returned; that of NextStep after the results of
  // all steps that are begun.
  absl::Status Run();

  int64_t num_begun() const { return num_begun_; }
  // Of those, begun while the one before was not finished.
  int64_t num_ahead() const { return num_ahead_; }

 private:
  // Nothing: the oldest step is to be finished first.
  absl::StatusOr<std::optional<v1::Step>> NextToBegin();
  absl::Status Begin(const v1::Step& step);
  absl::Status FinishOldest();

  StepExecutor& executor_;
  StepHost& host_;
  std::deque<uint64_t> begun_;  // numbers
  int64_t num_begun_ = 0;
  int64_t num_ahead_ = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_STEP_LOOP_H_
