// What exactly the scheduler issues, step by step.
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

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

TEST(SchedulerStepsTest, WorksAheadOfResults) {
  for (const int num_stages : {1, 2, 3}) {
    Bench bench(ReplicaInfo(num_stages, 100));
    bench.Submit({.prompt = Counting(5), .max_tokens = 100});
    // Prefill, then decodes of ids that are not known yet.
    ASSERT_EQ(static_cast<int>(bench.group.issued().size()), num_stages + 1);
    const v1::Step& first = bench.step(1);
    EXPECT_EQ(first.epoch(), 1u);
    EXPECT_EQ(first.number(), 1u);
    ASSERT_EQ(first.new_sequences_size(), 1);
    EXPECT_THAT(first.entries(0).ids(), ElementsAre(1, 2, 3, 4, 5));
    EXPECT_EQ(first.entries(0).new_blocks_size(), 1);
    EXPECT_TRUE(first.entries(0).sample());
    const v1::Step& second = bench.step(2);
    EXPECT_EQ(second.number(), 2u);
    EXPECT_EQ(second.new_sequences_size(), 0);
    EXPECT_THAT(second.entries(0).ids(), IsEmpty());
    EXPECT_TRUE(second.entries(0).sample());
    EXPECT_EQ(bench.scheduler.Stats().steps_in_flight, num_stages + 1);
    CARAVAN_ASSERT_OK(bench.group.AnswerNext(bench.scheduler));
    EXPECT_EQ(static_cast<int>(bench.group.num_unanswered()), num_stages + 1);
  }
}

TEST(SchedulerStepsTest, CutsPromptsIntoChunks) {
  Bench bench(ReplicaInfo(1, 100), {.max_batched_tokens = 8});
  bench.Submit({.prompt = Counting(20), .max_tokens = 3});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_EQ(bench.step(1).entries(0).ids_size(), 8);
  EXPECT_FALSE(bench.step(1).entries(0).sample());
  EXPECT_EQ(bench.step(1).entries(0).new_blocks_size(), 2);  // all at once
  EXPECT_THAT(bench.step(3).entries(0).ids(), ElementsAre(17, 18, 19, 20));
  EXPECT_TRUE(bench.step(3).entries(0).sample());
  // Nothing ran beyond max_tokens though results came late: two decodes, and
  // the step that drops.
  ASSERT_EQ(bench.group.issued().size(), 6u);
  EXPECT_EQ(bench.step(6).entries_size(), 0);
  EXPECT_THAT(bench.step(6).dropped_sequences(), ElementsAre(1));
  EXPECT_THAT(bench.record(0).tokens,
              ElementsAreArray(ReferenceTokens(Counting(20), 3)));
  EXPECT_EQ(bench.record(0).reason, FinishReason::kLength);
  EXPECT_EQ(bench.group.engine().num_sequences(), 0);
}

TEST(SchedulerStepsTest, CancelFreesBlocksWithTheNextStep) {
  Bench bench(ReplicaInfo(1, 4));
  const RequestId first =
      bench.Submit({.prompt = Counting(60), .max_tokens = 2});
  const RequestId second = bench.Submit({.prompt = Counting(3)});
  EXPECT_EQ(bench.scheduler.Stats().num_waiting, 1);  // no block is left
  bench.scheduler.Cancel(first);
  bench.sinks[0]->Close();
  EXPECT_EQ(bench.scheduler.Stats().blocks_used, 0);
  bench.scheduler.Cancel(first);
  bench.scheduler.Cancel(12345);
  CARAVAN_ASSERT_OK(bench.group.AnswerNext(bench.scheduler));
  // The same step drops the one and gives its blocks to the other.
  const v1::Step& step = bench.step(3);
  EXPECT_THAT(step.dropped_sequences(), ElementsAre(1));
  EXPECT_EQ(step.new_sequences_size(), 1);
  EXPECT_EQ(step.entries(0).new_blocks_size(), 1);
  bench.scheduler.Cancel(second);
  bench.sinks[1]->Close();
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_EQ(bench.record(0).misuse, "");
  EXPECT_EQ(bench.record(1).misuse, "");
  EXPECT_EQ(bench.group.engine().num_blocks_used(), 0);
}

TEST(SchedulerStepsTest, CancellingWhatWaitsReachesNoEngine) {
  Bench bench(ReplicaInfo(1, 100), {.max_sequences = 1});
  bench.Submit({.prompt = Counting(5), .max_tokens = 3});
  const RequestId waits = bench.Submit({.prompt = Counting(9)});
  bench.scheduler.Cancel(waits);
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  for (const v1::Step& step : bench.group.issued()) {
    for (const v1::NewSequence& added : step.new_sequences()) {
      EXPECT_EQ(added.sequence(), 1u);
    }
  }
  EXPECT_EQ(bench.record(1).num_finished, 0);
}

TEST(SchedulerStepsTest, PreemptedSequencesReplayUnderANewNumber) {
  Bench bench(ReplicaInfo(1, 4));
  bench.Submit({.prompt = Counting(16),
                .sampling = {.prompt_logprobs = 0},
                .max_tokens = 40});
  bench.Submit({.prompt = Counting(14),
                .sampling = {.logprobs = 0, .prompt_logprobs = 0},
                .max_tokens = 40});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_EQ(bench.scheduler.Stats().preemptions, 1);
  EXPECT_EQ(bench.scheduler.Stats().prompt_tokens, 30);
  EXPECT_EQ(bench.scheduler.Stats().generated_tokens, 80);
  for (const v1::Step& step : bench.group.issued()) {
    if (step.new_sequences_size() == 0 ||
        step.new_sequences(0).sequence() != 3) {
      continue;
    }
    // Prompt and generated, without prompt log-probabilities a second time.
    EXPECT_EQ(step.new_sequences(0).sampling().prompt_logprobs(), -1);
    std::vector<int32_t> known = Counting(14);
    const std::vector<int32_t> tokens = ReferenceTokens(known, 40);
    const v1::StepEntry& entry = *step.entries().rbegin();
    ASSERT_GT(entry.ids_size(), 14);
    known.insert(known.end(), tokens.begin(),
                 tokens.begin() + entry.ids_size() - 14);
    EXPECT_THAT(entry.ids(), ElementsAreArray(known));
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(bench.record(i).num_prompt_logprob_calls, 1);
    EXPECT_THAT(bench.record(i).tokens,
                ElementsAreArray(ReferenceTokens(Counting(16 - 2 * i), 40)));
  }
}

TEST(SchedulerStepsTest, GroupsTakeTurns) {
  Bench bench(ReplicaInfo(2, 100));
  for (int i = 0; i < 4; ++i) {
    bench.Submit({.prompt = Counting(3 + i), .max_tokens = 20});
  }
  for (int i = 0; i < 10; ++i) {
    CARAVAN_ASSERT_OK(bench.group.AnswerNext(bench.scheduler));
  }
  // All have joined: two in each step, never one in two steps that follow.
  for (size_t number = 8; number <= 12; ++number) {
    const v1::Step& step = bench.step(number);
    ASSERT_EQ(step.entries_size(), 2) << number;
    for (const v1::StepEntry& entry : step.entries()) {
      for (const v1::StepEntry& before : bench.step(number - 1).entries()) {
        EXPECT_NE(entry.sequence(), before.sequence()) << number;
      }
    }
  }
}

TEST(SchedulerStepsTest, GroupsStayBalancedWhenSequencesLeave) {
  Bench bench(ReplicaInfo(2, 100));
  std::vector<RequestId> ids;
  for (int i = 0; i < 6; ++i) {
    ids.push_back(bench.Submit({.prompt = Counting(3), .max_tokens = 60}));
  }
  for (int i = 0; i < 8; ++i) {
    CARAVAN_ASSERT_OK(bench.group.AnswerNext(bench.scheduler));
  }
  // All of one group leave.
  const v1::Step last = bench.group.issued().back();
  ASSERT_EQ(last.entries_size(), 3);
  for (const v1::StepEntry& entry : last.entries()) {
    bench.scheduler.Cancel(ids[entry.sequence() - 1]);
  }
  for (int i = 0; i < 8; ++i) {
    CARAVAN_ASSERT_OK(bench.group.AnswerNext(bench.scheduler));
  }
  const size_t number = bench.group.issued().size();
  EXPECT_EQ(
      bench.step(number).entries_size() + bench.step(number - 1).entries_size(),
      3);
  EXPECT_GE(bench.step(number).entries_size(), 1);
  EXPECT_GE(bench.step(number - 1).entries_size(), 1);
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
}

}  // namespace
}  // namespace caravan::coordinator
