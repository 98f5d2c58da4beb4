// What exactly the scheduler issues, step by step; whether whole streams come
// out right is scheduler_simulation_test.cc's question.
#include "coordinator/schedule/scheduler.h"

#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/schedule/manual_group.h"
#include "tests/coordinator/schedule/recording_sink.h"
#include "tests/coordinator/schedule/simulated_replica.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int32_t> Counting(int64_t size) {
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

TEST(SchedulerTest, WorksAheadOfResults) {
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

TEST(SchedulerTest, CutsPromptsIntoChunks) {
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

TEST(SchedulerTest, EndsAtTheModelsLength) {
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

TEST(SchedulerTest, ACacheShorterThanTheModelEndsSequencesToo) {
  Bench bench(ReplicaInfo(1, 2));
  bench.Submit({.prompt = Counting(30), .max_tokens = 100});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  // 32 positions, and a last token that needs none.
  EXPECT_EQ(bench.record(0).tokens.size(), 3u);
  EXPECT_EQ(bench.record(0).reason, FinishReason::kLength);
}

TEST(SchedulerTest, PromptLogprobsWithoutGeneration) {
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

TEST(SchedulerTest, NoTokensAskedForNoneGiven) {
  Bench bench(ReplicaInfo(1, 100));
  bench.Submit({.prompt = Counting(7), .max_tokens = 0});
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_FALSE(bench.step(1).entries(0).sample());
  EXPECT_THAT(bench.record(0).tokens, IsEmpty());
  EXPECT_EQ(bench.record(0).num_finished, 1);
  EXPECT_EQ(bench.record(0).reason, FinishReason::kLength);
  EXPECT_EQ(bench.record(0).num_prompt_logprob_calls, 0);
}

TEST(SchedulerTest, AStopTokenIsTheLastAndWhatRanOnIsDiscarded) {
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

TEST(SchedulerTest, CancelFreesBlocksWithTheNextStep) {
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

TEST(SchedulerTest, CancellingWhatWaitsReachesNoEngine) {
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

TEST(SchedulerTest, PreemptedSequencesReplayUnderANewNumber) {
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

TEST(SchedulerTest, GroupsTakeTurns) {
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

TEST(SchedulerTest, GroupsStayBalancedWhenSequencesLeave) {
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

TEST(SchedulerTest, RefusesWhatCanNeverRun) {
  EngineGroupInfo info = ReplicaInfo(1, 4);
  info.max_model_len = 100;
  Bench bench(info);
  const auto sink = std::make_shared<RecordingSink>();
  const auto submit = [&](GenerationRequest request) {
    return bench.scheduler.Submit(std::move(request), sink);
  };
  EXPECT_THAT(submit({}), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("prompt is empty")));
  EXPECT_THAT(
      submit({.prompt = {1}, .max_tokens = -1}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_tokens=-1")));
  EXPECT_THAT(submit({.prompt = Counting(100)}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("prompt_tokens=100"),
                             HasSubstr("max_model_len=100"))));
  EXPECT_THAT(
      submit({.prompt = Counting(65)}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               AllOf(HasSubstr("prompt_tokens=65"), HasSubstr("blocks=5"),
                     HasSubstr("blocks_total=4"))));
  EXPECT_TRUE(bench.group.issued().empty());
  bench.scheduler.OnEpochEnded(absl::UnavailableError("stopped"));
  EXPECT_THAT(submit({.prompt = {1}}),
              StatusIs(absl::StatusCode::kUnavailable));
  Scheduler never_started({});
  EXPECT_THAT(never_started.Submit({.prompt = {1}}, sink),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(sink->record().num_finished, 0);
}

TEST(SchedulerTest, RefusesResultsThatTheProtocolDoesNotAllow) {
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

TEST(SchedulerTest, NoResultIsExpectedWhenNoStepIsInFlight) {
  Bench bench(ReplicaInfo(1, 100));
  v1::StepResult result;
  result.set_epoch(1);
  result.set_number(1);
  EXPECT_THAT(
      bench.scheduler.OnStepResult(result),
      StatusIs(absl::StatusCode::kInternal, HasSubstr("no step is in flight")));
}

TEST(SchedulerTest, ResultsAfterTheEpochAreIgnored) {
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

TEST(SchedulerTest, TheDestructorEndsWhatRuns) {
  const auto sink = std::make_shared<RecordingSink>();
  ManualGroup group(ReplicaInfo(1, 100));
  {
    Scheduler scheduler({});
    scheduler.OnEpochStarted(&group);
    CARAVAN_ASSERT_OK(scheduler.Submit({.prompt = {1}}, sink));
  }
  EXPECT_EQ(sink->record().num_finished, 1);
  EXPECT_THAT(sink->record().status, StatusIs(absl::StatusCode::kUnavailable));
}

TEST(SchedulerTest, SinksMayCallTheScheduler) {
  Bench bench(ReplicaInfo(1, 100));
  RequestId ids[2] = {};
  const auto first = std::make_shared<RecordingSink>();
  const auto second = std::make_shared<RecordingSink>();
  const auto third = std::make_shared<RecordingSink>();
  first->OnEachToken([&](int64_t num_tokens) {
    if (num_tokens != 2) return;
    second->Close();
    bench.scheduler.Cancel(ids[1]);
    CARAVAN_EXPECT_OK(
        bench.scheduler.Submit({.prompt = {4}, .max_tokens = 2}, third));
    first->Close();
    bench.scheduler.Cancel(ids[0]);
    EXPECT_EQ(bench.scheduler.Stats().num_running +
                  bench.scheduler.Stats().num_waiting,
              1);
  });
  CARAVAN_ASSERT_OK_AND_ASSIGN(ids[0],
                               bench.scheduler.Submit({.prompt = {1}}, first));
  CARAVAN_ASSERT_OK_AND_ASSIGN(ids[1],
                               bench.scheduler.Submit({.prompt = {2}}, second));
  ASSERT_TRUE(bench.group.AnswerAll(bench.scheduler));
  EXPECT_EQ(first->record().misuse + second->record().misuse, "");
  EXPECT_EQ(first->record().tokens.size(), 2u);
  EXPECT_EQ(third->record().tokens.size(), 2u);
  EXPECT_EQ(third->record().num_finished, 1);
}

TEST(SchedulerTest, CancelWaitsForTheCallBeingMade) {
  Bench bench(ReplicaInfo(1, 100));
  absl::Notification entered;
  absl::Notification release;
  std::atomic<bool> left = false;
  std::atomic<bool> cancelled = false;
  const auto sink = std::make_shared<RecordingSink>();
  sink->OnEachToken([&](int64_t) {
    entered.Notify();
    release.WaitForNotificationWithTimeout(absl::Seconds(20));
    left = true;
  });
  CARAVAN_ASSERT_OK_AND_ASSIGN(const RequestId id,
                               bench.scheduler.Submit({.prompt = {1}}, sink));
  std::thread engines(
      [&] { CARAVAN_EXPECT_OK(bench.group.AnswerNext(bench.scheduler)); });
  ASSERT_TRUE(entered.WaitForNotificationWithTimeout(absl::Seconds(20)));
  std::thread client([&] {
    bench.scheduler.Cancel(id);
    EXPECT_TRUE(left);
    cancelled = true;
  });
  // The client is in Cancel when the request is gone.
  while (bench.scheduler.Stats().num_running > 0) std::this_thread::yield();
  EXPECT_FALSE(cancelled);
  release.Notify();
  engines.join();
  client.join();
  EXPECT_TRUE(cancelled);
}

}  // namespace
}  // namespace caravan::coordinator
