#include "worker/engine/model_executor.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine_plan.h"
#include "tests/support/quantized_source.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/engine/mixed_steps.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

class ModelExecutorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        source_, testing::MakeQuantizedSource(
                     testing::QuantizableSpec(),
                     [](absl::string_view) { return WeightFormat::kQ8; }));
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        plan_, testing::MakeEnginePlan(source_->spec(),
                                       {.max_rows_per_step = kMostMixedRows}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(backend_, CreateCpuBackend({}));
    executor_ = Create();
  }

  std::unique_ptr<ModelExecutor> Create() {
    auto executor = ModelExecutor::Create({.plan = &plan_,
                                           .rank = 0,
                                           .source = source_.get(),
                                           .backend = backend_.get(),
                                           .world = worlds_[0].get()});
    EXPECT_THAT(executor, testing::IsOk());
    return *std::move(executor);
  }

  const std::vector<std::unique_ptr<World>> worlds_ = CreateLocalWorlds(1);
  std::unique_ptr<partition::ModelSource> source_;
  v1::EnginePlan plan_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<ModelExecutor> executor_;
};

TEST_F(ModelExecutorTest, StepsBegunAheadGiveWhatEachGivesAlone) {
  const std::vector<v1::Step> steps = StepsOfAllKinds();
  StepResults alone;
  for (const v1::Step& step : steps) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult result,
                                 executor_->Execute(step));
    EXPECT_EQ(result.number(), step.number());
    alone.push_back(result.SerializeAsString());
  }
  executor_ = Create();
  StepResults ahead;
  std::set<uint64_t> not_passed;
  size_t begun = 0;
  while (ahead.size() < steps.size()) {
    if (begun < steps.size() && executor_->MayBegin()) {
      CARAVAN_ASSERT_OK(executor_->Begin(steps[begun++]));
      continue;
    }
    if (begun == ahead.size() + 1) not_passed.insert(begun);
    CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult result,
                                 executor_->Finish());
    ahead.push_back(result.SerializeAsString());
  }
  EXPECT_EQ(ahead, alone);
  // Behind all others the next step was begun before they were finished.
  std::set<uint64_t> expected = StepsOfTheHost();
  expected.insert(steps.size());
  EXPECT_EQ(not_passed, expected);
}

// The result is there when a step is begun: it must not wait for another.
TEST_F(ModelExecutorTest, NothingGoesAheadOfResultsThatAreThere) {
  EXPECT_FALSE(executor_->CanBeginAhead());
  for (const v1::Step& step : StepsOfAllKinds()) {
    CARAVAN_ASSERT_OK(executor_->Begin(step));
    EXPECT_FALSE(executor_->CanBeginAhead());
    CARAVAN_ASSERT_OK(executor_->Finish());
  }
}

// The same requests with log-probabilities, which are the host's.
TEST_F(ModelExecutorTest, TheDeviceTakesWhatTheHostWould) {
  MakeRoomForManySequences(plan_);
  std::vector<std::vector<int32_t>> ids;
  for (const int logprobs : {-1, 0}) {
    executor_ = Create();
    std::vector<int32_t>& all = ids.emplace_back();
    for (const v1::Step& step : StepsOfManySequences(logprobs)) {
      CARAVAN_ASSERT_OK(executor_->Begin(step));
      EXPECT_EQ(executor_->MayBegin(), logprobs < 0);
      CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult result,
                                   executor_->Finish());
      for (const v1::SequenceResult& sequence : result.sequences()) {
        all.push_back(sequence.id());
      }
    }
    EXPECT_EQ(all.size(), size_t{3 * kManySequences});
  }
  EXPECT_EQ(ids[0], ids[1]);
}

TEST_F(ModelExecutorTest, RefusesStepsThatAreWrong) {
  MixedSteps mixed;
  mixed.Step().New(1, MixedSteps::Greedy()).Prompt(1, 2);
  mixed.Step().Decode({1});
  std::vector<v1::Step> steps = mixed.steps();
  EXPECT_THAT(executor_->Begin(steps[1]),
              StatusIs(absl::StatusCode::kInternal,
                       HasSubstr("step out of order: step=2 last=0")));
  steps[0].mutable_entries(0)->set_ids(1, -1);
  EXPECT_THAT(executor_->Begin(steps[0]),
              StatusIs(absl::StatusCode::kInternal,
                       HasSubstr("token id out of range: step=1 id=-1")));
}

}  // namespace
}  // namespace caravan::worker
