// Runs steps: the real model, or a simulated one.
#ifndef CARAVAN_WORKER_ENGINE_STEP_EXECUTOR_H_
#define CARAVAN_WORKER_ENGINE_STEP_EXECUTOR_H_

#include "absl/status/statusor.h"
#include "caravan/v1/step.pb.h"

namespace caravan::worker {

// One thread. Steps come in order, 1, 2, 3, ...; any error ends the epoch.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;

  // Returns when this rank's part of the step is done. The result is complete
  // on ranks of the last stage and empty but for its number elsewhere.
  virtual absl::StatusOr<v1::StepResult> Execute(const v1::Step& step) = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_STEP_EXECUTOR_H_
