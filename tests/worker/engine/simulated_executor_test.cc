#include "worker/engine/simulated_executor.h"

#include "base/simulated_token.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;

v1::EnginePlan Plan() {
  v1::EnginePlan plan;
  plan.set_num_blocks(4);
  plan.set_max_model_len(64);
  plan.set_max_rows_per_step(16);
  plan.mutable_model()->mutable_simulated()->set_vocabulary_size(100);
  return plan;
}

v1::Step Prompt() {
  v1::Step step;
  step.set_number(1);
  v1::NewSequence* added = step.add_new_sequences();
  added->set_sequence(1);
  added->mutable_sampling()->set_logprobs(-1);
  added->mutable_sampling()->set_prompt_logprobs(-1);
  v1::StepEntry* entry = step.add_entries();
  entry->set_sequence(1);
  entry->add_ids(5);
  entry->add_ids(6);
  entry->add_new_blocks(0);
  entry->set_sample(true);
  return step;
}

TEST(SimulatedExecutorTest, SamplesAChainOfTokens) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto executor,
                               SimulatedExecutor::Create(Plan()));
  CARAVAN_ASSERT_OK_AND_ASSIGN(v1::StepResult first,
                               executor->Execute(Prompt()));
  const int32_t expected = SimulatedToken(6, 2, 100);
  ASSERT_EQ(first.sequences_size(), 1);
  EXPECT_EQ(first.sequences(0).id(), expected);

  v1::Step decode;
  decode.set_number(2);
  v1::StepEntry* entry = decode.add_entries();
  entry->set_sequence(1);
  entry->set_sample(true);
  CARAVAN_ASSERT_OK_AND_ASSIGN(v1::StepResult second,
                               executor->Execute(decode));
  EXPECT_EQ(second.sequences(0).id(), SimulatedToken(expected, 3, 100));
}

TEST(SimulatedExecutorTest, ScoresWhatIsAskedFor) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto executor,
                               SimulatedExecutor::Create(Plan()));
  v1::Step step = Prompt();
  v1::SamplingParameters* sampling =
      step.mutable_new_sequences(0)->mutable_sampling();
  sampling->set_logprobs(0);
  sampling->set_prompt_logprobs(0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(v1::StepResult result, executor->Execute(step));
  ASSERT_EQ(result.sequences_size(), 1);
  EXPECT_EQ(result.sequences(0).logprobs().id(), result.sequences(0).id());
  ASSERT_EQ(result.sequences(0).prompt_logprobs_size(), 1);
  EXPECT_EQ(result.sequences(0).prompt_logprobs(0).id(), 6);
}

TEST(SimulatedExecutorTest, RefusesAGapInTheOrder) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto executor,
                               SimulatedExecutor::Create(Plan()));
  v1::Step step = Prompt();
  step.set_number(2);
  EXPECT_THAT(executor->Execute(step), StatusIs(absl::StatusCode::kInternal));
}

TEST(SimulatedExecutorTest, RefusesAPlanWithoutTiming) {
  v1::EnginePlan plan = Plan();
  plan.mutable_model()->clear_simulated();
  EXPECT_THAT(SimulatedExecutor::Create(plan),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::worker
