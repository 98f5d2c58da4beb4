// An engine without a model: takes its time, samples SimulatedToken().
#ifndef CARAVAN_WORKER_ENGINE_SIMULATED_EXECUTOR_H_
#define CARAVAN_WORKER_ENGINE_SIMULATED_EXECUTOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "caravan/v1/plan.pb.h"
#include "worker/engine/sequence_table.h"
#include "worker/engine/step_executor.h"

namespace caravan::worker {

// Follows the protocol as strictly as the real executor: order of steps,
// blocks, sequences. Ranks of one replica do not talk: each waits the same
// time.
class SimulatedExecutor final : public StepExecutor {
 public:
  // kInvalidArgument: a plan without the simulated engine's timing.
  static absl::StatusOr<std::unique_ptr<SimulatedExecutor>> Create(
      const v1::EnginePlan& plan);

  // All of a step happens as it is begun.
  absl::Status Begin(const v1::Step& step) override;
  absl::StatusOr<v1::StepResult> Finish() override;

 private:
  explicit SimulatedExecutor(const v1::EnginePlan& plan);
  absl::StatusOr<v1::StepResult> Run(const v1::Step& step);

  const v1::SimulatedTiming timing_;
  const int64_t max_rows_;
  SequenceTable sequences_;
  uint64_t last_step_ = 0;
  v1::StepResult result_;  // of the step that is begun
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_SIMULATED_EXECUTOR_H_
