// A replica in this process that speaks the step protocol and keeps the time of
// a pipeline of engines, without a model: for tests and measurements of
// everything above the engines.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_ENGINE_GROUP_H_
#define CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_ENGINE_GROUP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "caravan/v1/step.pb.h"
#include "coordinator/schedule/engine_group.h"
#include "coordinator/schedule/simulated_engine.h"
#include "coordinator/schedule/simulated_pipeline.h"

namespace caravan::coordinator {

struct SimulatedEngineGroupOptions {
  EngineGroupInfo info;
  int32_t vocabulary_size = 32000;
  // How long one stage works on a step: fixed plus per row. Stages overlap as
  // in a pipeline; a step that takes an id as input waits for the step that
  // samples it.
  absl::Duration per_step;
  absl::Duration per_row;
  Clock* clock = nullptr;  // null: RealClock()
  // Called on the group's thread, one call at a time, results in order. An
  // error that on_result returns ends the group.
  std::function<absl::Status(const v1::StepResult&)> on_result;
  // Once, when the group ends by itself: a broken protocol, FailAtStep, or an
  // error of on_result. Nothing is called after it.
  std::function<void(const absl::Status&)> on_end;
};

// Thread-safe. The destructor stops at once, joins, and calls nothing.
class SimulatedEngineGroup final : public EngineGroup {
 public:
  explicit SimulatedEngineGroup(SimulatedEngineGroupOptions options);
  ~SimulatedEngineGroup() override;
  SimulatedEngineGroup(const SimulatedEngineGroup&) = delete;
  SimulatedEngineGroup& operator=(const SimulatedEngineGroup&) = delete;

  const EngineGroupInfo& info() const override { return options_.info; }
  void Issue(const v1::Step& step) override;

  // The group ends with `status` instead of running step `number`, or the next
  // one if that has passed.
  void FailAtStep(uint64_t number, const absl::Status& status);

  // While stalled, no step begins: the silent hang of an engine.
  void SetStalled(bool stalled);

  uint64_t steps_run() const;
  // Of the engines, after the last step run.
  int64_t num_sequences() const;
  int64_t num_blocks_used() const;

 private:
  struct IssuedStep {
    v1::Step step;
    absl::Time arrival;
  };

  void Run();
  // Waits for a step to run. False: stop.
  bool NextStep(IssuedStep* next);
  // Executes it in its own time; an error ends the group.
  absl::Status RunStep(const IssuedStep& next);
  bool WaitUntil(absl::Time time);  // false: stopped

  SimulatedEngineGroupOptions options_;
  Clock& clock_;
  SimulatedEngine engine_;      // of the thread
  SimulatedPipeline pipeline_;  // of the thread

  mutable absl::Mutex mutex_;
  std::deque<IssuedStep> queue_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t fail_at_ ABSL_GUARDED_BY(mutex_) = 0;  // 0: never
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  uint64_t steps_run_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t num_sequences_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t num_blocks_used_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_SIMULATED_ENGINE_GROUP_H_
