// Engines that run a step when the test says so, on the test's thread.
#ifndef CARAVAN_TESTS_COORDINATOR_SCHEDULE_MANUAL_GROUP_H_
#define CARAVAN_TESTS_COORDINATOR_SCHEDULE_MANUAL_GROUP_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/schedule/engine_group.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/schedule/simulated_engine.h"
#include "gtest/gtest.h"
#include "tests/coordinator/schedule/recording_sink.h"
#include "tests/coordinator/schedule/simulated_replica.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {

class ManualGroup final : public EngineGroup {
 public:
  explicit ManualGroup(const EngineGroupInfo& info)
      : info_(info), engine_(info, kSimulatedVocabulary) {}

  const EngineGroupInfo& info() const override { return info_; }
  void Issue(const v1::Step& step) override {
    issued_.push_back(step);
    unanswered_.push_back(step);
  }

  // The result of the oldest step not run yet.
  absl::StatusOr<v1::StepResult> RunNext() {
    if (unanswered_.empty()) {
      return absl::FailedPreconditionError("no step was issued");
    }
    const v1::Step step = unanswered_.front();
    unanswered_.pop_front();
    StepShape shape;
    return engine_.Execute(step, &shape);
  }

  absl::Status AnswerNext(Scheduler& scheduler) {
    const auto result = RunNext();
    return result.ok() ? scheduler.OnStepResult(*result) : result.status();
  }

  // Until no step is left; false: `most` were not enough.
  bool AnswerAll(Scheduler& scheduler, int most = 10000) {
    while (!unanswered_.empty() && most-- > 0) {
      if (!AnswerNext(scheduler).ok()) return false;
    }
    return unanswered_.empty();
  }

  const std::vector<v1::Step>& issued() const { return issued_; }
  size_t num_unanswered() const { return unanswered_.size(); }
  const SimulatedEngine& engine() const { return engine_; }

 private:
  const EngineGroupInfo info_;
  SimulatedEngine engine_;
  std::vector<v1::Step> issued_;
  std::deque<v1::Step> unanswered_;
};

inline std::vector<int32_t> Counting(int64_t size) {
  std::vector<int32_t> prompt(size);
  std::iota(prompt.begin(), prompt.end(), 1);
  return prompt;
}

// A scheduler whose engines run by hand.
struct Bench {
  explicit Bench(const EngineGroupInfo& info,
                 const SchedulerOptions& options = {})
      : group(info), scheduler(options) {
    scheduler.OnEpochStarted(&group);
  }

  RequestId Submit(GenerationRequest request) {
    sinks.push_back(std::make_shared<RecordingSink>());
    const auto id = scheduler.Submit(std::move(request), sinks.back());
    EXPECT_THAT(id, ::caravan::testing::IsOk());
    return id.value_or(0);
  }

  const v1::Step& step(size_t number) const {
    return group.issued().at(number - 1);
  }
  RecordingSink::Record record(size_t i) const { return sinks[i]->record(); }

  ManualGroup group;  // outlives the scheduler
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  Scheduler scheduler;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_TESTS_COORDINATOR_SCHEDULE_MANUAL_GROUP_H_
