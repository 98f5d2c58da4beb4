// A scheduler over simulated engines, as the cluster would wire them.
#ifndef CARAVAN_TESTS_COORDINATOR_SCHEDULE_SIMULATED_REPLICA_H_
#define CARAVAN_TESTS_COORDINATOR_SCHEDULE_SIMULATED_REPLICA_H_

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/simulated_token.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/schedule/simulated_engine_group.h"

namespace caravan::coordinator {

inline constexpr int32_t kSimulatedVocabulary = 1000;

// The first `count` tokens after `prompt`.
inline std::vector<int32_t> ReferenceTokens(const std::vector<int32_t>& prompt,
                                            int64_t count) {
  std::vector<int32_t> tokens;
  int32_t previous = prompt.back();
  for (int64_t i = 0; i < count; ++i) {
    previous = SimulatedToken(previous, static_cast<int64_t>(prompt.size()) + i,
                              kSimulatedVocabulary);
    tokens.push_back(previous);
  }
  return tokens;
}

inline EngineGroupInfo ReplicaInfo(int num_stages, int64_t num_blocks) {
  return {.replica = 1,
          .epoch = 1,
          .num_stages = num_stages,
          .num_blocks = num_blocks,
          .max_model_len = 512,
          .max_rows_per_step = 512,
          .max_sequences = 64};
}

class SimulatedReplica final {
 public:
  explicit SimulatedReplica(const SchedulerOptions& options)
      : scheduler_(options) {}

  ~SimulatedReplica() {
    // The engines first: they call the scheduler.
    scheduler_.OnEpochEnded(absl::UnavailableError("test ends"));
    group_.reset();
  }

  Scheduler& scheduler() { return scheduler_; }
  SimulatedEngineGroup& group() { return *group_; }

  void StartEpoch(const EngineGroupInfo& info, absl::Duration per_step = {},
                  Clock* clock = nullptr) {
    group_.reset();
    {
      absl::MutexLock lock(&mutex_);
      end_ = absl::OkStatus();
      num_ends_ = 0;
    }
    group_ = std::make_unique<SimulatedEngineGroup>(SimulatedEngineGroupOptions{
        .info = info,
        .vocabulary_size = kSimulatedVocabulary,
        .per_step = per_step,
        .clock = clock,
        .on_result =
            [this](const v1::StepResult& result) {
              const absl::Status status = scheduler_.OnStepResult(result);
              absl::MutexLock lock(&mutex_);
              ++num_results_;
              return status;
            },
        .on_end =
            [this](const absl::Status& status) {
              scheduler_.OnEpochEnded(status);
              absl::MutexLock lock(&mutex_);
              end_ = status;
              ++num_ends_;
            }});
    scheduler_.OnEpochStarted(group_.get());
  }

  // Until nothing waits, runs or is in flight; false: not in 20 s, or the
  // engines ended.
  bool AwaitQuiescence() {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(
               absl::Condition(
                   +[](SimulatedReplica* self) {
                     const SchedulerStats stats = self->scheduler_.Stats();
                     return self->num_ends_ > 0 ||
                            stats.num_waiting + stats.num_running +
                                    stats.steps_in_flight ==
                                0;
                   },
                   this),
               absl::Seconds(20)) &&
           num_ends_ == 0;
  }

  bool AwaitEnd() {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(
        absl::Condition(
            +[](int* num_ends) { return *num_ends > 0; }, &num_ends_),
        absl::Seconds(20));
  }

  // Why the engines ended by themselves; OK while they have not.
  absl::Status end() const {
    absl::MutexLock lock(&mutex_);
    return end_;
  }

 private:
  Scheduler scheduler_;
  mutable absl::Mutex mutex_;
  absl::Status end_;
  int num_ends_ = 0;
  int64_t num_results_ = 0;
  std::unique_ptr<SimulatedEngineGroup> group_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_TESTS_COORDINATOR_SCHEDULE_SIMULATED_REPLICA_H_
