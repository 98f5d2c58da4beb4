// Runs steps: the real model, or a simulated one.
#ifndef CARAVAN_WORKER_ENGINE_STEP_EXECUTOR_H_
#define CARAVAN_WORKER_ENGINE_STEP_EXECUTOR_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "caravan/v1/step.pb.h"

namespace caravan::worker {

// One thread. Steps come in order, 1, 2, 3, ..., and each is begun, then
// finished; any error ends the epoch.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;

  // Does of this rank's part what can be done without waiting for the result,
  // which may be all. The step before is finished, unless CanBeginAhead.
  virtual absl::Status Begin(const v1::Step& step) = 0;

  // Ends the oldest step that is begun, for which it may wait. The result is
  // complete on ranks of the last stage and empty but for its number elsewhere.
  virtual absl::StatusOr<v1::StepResult> Finish() = 0;

  // Whether, with steps begun, Finish would wait and the next step need not:
  // its work can be enqueued behind theirs.
  virtual bool CanBeginAhead() const { return false; }

  // A step alone.
  absl::StatusOr<v1::StepResult> Execute(const v1::Step& step) {
    CARAVAN_RETURN_IF_ERROR(Begin(step));
    return Finish();
  }
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_STEP_EXECUTOR_H_
