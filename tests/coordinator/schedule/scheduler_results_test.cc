// What the scheduler makes of results, and which it refuses.
#include <string>
#include <vector>

#include "coordinator/schedule/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/schedule/manual_group.h"
#include "tests/coordinator/schedule/recording_sink.h"
#include "tests/coordinator/schedule/simulated_replica.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SchedulerResultsTest, EndsAtTheModelsLength) {
  EngineGroupInfo info = ReplicaInfo(1, 100);
  info.max_model_len = 10;
  Bench bench(info);
  bench.Submit({.prompt = Counting(8), .max_tokens = 100});
  bench.Submit({.prompt = Counting(10), .max_tokens = 0});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_THAT(bench.record(0).tokens,
              ElementsAreArray(ReferenceTokens(Counting(8), 2)));
  EXPECT_EQ(bench.record(0).reason, FinishReason::kLength);
  EXPECT_EQ(bench.record(1).num_finished, 1);
}

TEST(SchedulerResultsTest, ACacheShorterThanTheModelEndsSequencesToo) {
  Bench bench(ReplicaInfo(1, 2));
  bench.Submit({.prompt = Counting(30), .max_tokens = 100});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  // 32 positions, and a last token that needs none.
  EXPECT_EQ(bench.record(0).tokens.size(), 3u);
  EXPECT_EQ(bench.record(0).reason, FinishReason::kLength);
}

TEST(SchedulerResultsTest, PromptLogprobsWithoutGeneration) {
  Bench bench(ReplicaInfo(1, 100), {.max_batched_tokens = 3});
  bench.Submit({.prompt = Counting(7),
                .sampling = {.prompt_logprobs = 2},
                .max_tokens = 0});
  bench.Submit(
      {.prompt = {5}, .sampling = {.prompt_logprobs = 0}, .max_tokens = 0});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_EQ(bench.step(1).new_sequences(0).sampling().prompt_logprobs(), 2);
  EXPECT_EQ(bench.step(1).entries(0).next_id(), 4);
  EXPECT_EQ(bench.step(2).entries(0).next_id(), 7);
  EXPECT_FALSE(bench.step(3).entries(0).has_next_id());
  EXPECT_FALSE(bench.step(3).entries(0).sample());
  const RecordingSink::Record record = bench.record(0);
  EXPECT_EQ(record.num_prompt_logprob_calls, 1);
  ASSERT_EQ(record.prompt_logprobs.size(), 6u);
  EXPECT_EQ(record.prompt_logprobs[0].id, 2);
  EXPECT_EQ(record.prompt_logprobs[5].id, 7);
  EXPECT_EQ(record.prompt_logprobs[0].top_ids.size(), 2u);
  EXPECT_THAT(record.tokens, IsEmpty());
  EXPECT_EQ(record.reason, FinishReason::kLength);
  CARAVAN_EXPECT_OK(record.status);
  // A single token has no predecessor.
  EXPECT_EQ(bench.record(1).num_prompt_logprob_calls, 1);
  EXPECT_THAT(bench.record(1).prompt_logprobs, IsEmpty());
  EXPECT_EQ(bench.record(1).num_finished, 1);
  EXPECT_EQ(bench.scheduler.Stats().blocks_used, 0);
}

TEST(SchedulerResultsTest, NoTokensAskedForNoneGiven) {
  Bench bench(ReplicaInfo(1, 100));
  bench.Submit({.prompt = Counting(7), .max_tokens = 0});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_FALSE(bench.step(1).entries(0).sample());
  EXPECT_THAT(bench.record(0).tokens, IsEmpty());
  EXPECT_EQ(bench.record(0).num_finished, 1);
  EXPECT_EQ(bench.record(0).reason, FinishReason::kLength);
  EXPECT_EQ(bench.record(0).num_prompt_logprob_calls, 0);
}

TEST(SchedulerResultsTest, AStopTokenIsTheLastAndWhatRanOnIsDiscarded) {
  Bench bench(ReplicaInfo(1, 100));
  const std::vector<int32_t> tokens = ReferenceTokens(Counting(5), 3);
  bench.Submit({.prompt = Counting(5),
                .max_tokens = 50,
                .stop_tokens = {-7, tokens[2]}});
  for (int i = 0; i < 3; ++i) {
    CARAVAN_ASSERT_OK(bench.group.AnswerNext(bench.scheduler));
  }
  EXPECT_THAT(bench.record(0).tokens, ElementsAreArray(tokens));
  EXPECT_EQ(bench.record(0).reason, FinishReason::kStop);
  EXPECT_EQ(bench.scheduler.Stats().blocks_used, 0);
  // Step 4 was in flight; 5 drops.
  ASSERT_EQ(bench.group.issued().size(), 5u);
  EXPECT_THAT(bench.step(5).dropped_sequences(), ElementsAre(1));
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_EQ(bench.record(0).tokens.size(), 3u);
  EXPECT_EQ(bench.record(0).misuse, "");
  EXPECT_EQ(bench.scheduler.Stats().generated_tokens, 3);
  EXPECT_EQ(bench.scheduler.Stats().steps_in_flight, 0);
}

TEST(SchedulerResultsTest, RefusesResultsThatTheProtocolDoesNotAllow) {
  Bench bench(ReplicaInfo(1, 100));
  bench.Submit({.prompt = Counting(3),
                .sampling = {.logprobs = 0, .prompt_logprobs = 0}});
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult good,
                               bench.group.RunNext());
  const auto expect_refused = [&](const v1::StepResult& result,
                                  const std::string& message) {
    EXPECT_THAT(bench.scheduler.OnStepResult(result),
                StatusIs(absl::StatusCode::kInternal, HasSubstr(message)));
  };
  v1::StepResult bad = good;
  bad.set_number(2);
  expect_refused(bad, "expected step=1");
  bad = good;
  bad.clear_sequences();
  expect_refused(bad, "nothing for sequence=1");
  bad = good;
  bad.mutable_sequences(0)->set_sequence(8);
  expect_refused(bad, "nothing for sequence=1");
  bad = good;
  *bad.add_sequences() = good.sequences(0);
  expect_refused(bad, "not in the step: sequence=1");
  bad = good;
  bad.mutable_sequences(0)->clear_id();
  expect_refused(bad, "expected sampled=1");
  bad = good;
  bad.mutable_sequences(0)->set_id(-1);
  expect_refused(bad, "id=-1");
  bad = good;
  bad.mutable_sequences(0)->clear_logprobs();
  expect_refused(bad, "no log-probabilities");
  bad = good;
  bad.mutable_sequences(0)->mutable_prompt_logprobs()->RemoveLast();
  expect_refused(bad, "prompt log-probabilities=1 expected=2");
  EXPECT_EQ(bench.record(0).tokens.size(), 0u);
  // Another epoch's is nobody's fault.
  bad = good;
  bad.set_epoch(7);
  bad.set_number(99);
  CARAVAN_EXPECT_OK(bench.scheduler.OnStepResult(bad));
  CARAVAN_EXPECT_OK(bench.scheduler.OnStepResult(good));
  EXPECT_EQ(bench.record(0).tokens.size(), 1u);
}

TEST(SchedulerResultsTest, NoResultIsExpectedWhenNoStepIsInFlight) {
  Bench bench(ReplicaInfo(1, 100));
  v1::StepResult result;
  result.set_epoch(1);
  result.set_number(1);
  EXPECT_THAT(
      bench.scheduler.OnStepResult(result),
      StatusIs(absl::StatusCode::kInternal, HasSubstr("no step is in flight")));
}

TEST(SchedulerResultsTest, ResultsAfterTheEpochAreIgnored) {
  Bench bench(ReplicaInfo(1, 100));
  bench.Submit({.prompt = Counting(3)});
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::StepResult late,
                               bench.group.RunNext());
  bench.scheduler.OnEpochEnded(absl::InternalError("rank 0 exited"));
  EXPECT_THAT(bench.record(0).status, StatusIs(absl::StatusCode::kUnavailable,
                                               HasSubstr("rank 0 exited")));
  CARAVAN_EXPECT_OK(bench.scheduler.OnStepResult(late));
  bench.scheduler.OnEpochEnded(absl::InternalError("again"));
  EXPECT_EQ(bench.record(0).num_finished, 1);
  EXPECT_EQ(bench.record(0).misuse, "");
}

}  // namespace
}  // namespace caravan::coordinator
