// The scheduler over simulated engines that refuse every breach of the step
// protocol: tokens must be those of each sequence alone.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/schedule/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/schedule/recording_sink.h"
#include "tests/coordinator/schedule/simulated_replica.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AnyOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::vector<int32_t> Prompt(int64_t size, int32_t first) {
  std::vector<int32_t> prompt(size);
  for (int64_t i = 0; i < size; ++i) {
    prompt[i] =
        static_cast<int32_t>((first * 31 + i * 7) % kSimulatedVocabulary);
  }
  return prompt;
}

// A request with what must come of it.
struct Expectation {
  GenerationRequest request;
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::kLength;
  int64_t cancel_after = -1;  // tokens; -1: never
};

Expectation Expect(GenerationRequest request, int64_t max_model_len) {
  Expectation expectation{.request = request};
  const int64_t num_prompt = static_cast<int64_t>(request.prompt.size());
  expectation.tokens = ReferenceTokens(
      request.prompt, std::min(request.max_tokens, max_model_len - num_prompt));
  for (size_t i = 0; i < expectation.tokens.size(); ++i) {
    const auto& stops = request.stop_tokens;
    if (std::count(stops.begin(), stops.end(), expectation.tokens[i]) > 0) {
      expectation.tokens.resize(i + 1);
      expectation.reason = FinishReason::kStop;
    }
  }
  return expectation;
}

void ExpectLogprobs(const Expectation& expectation,
                    const RecordingSink::Record& record) {
  const SamplingParameters& sampling = expectation.request.sampling;
  for (size_t i = 0; i < record.tokens.size(); ++i) {
    const v1::TokenLogprobs expected = SimulatedLogprobs(
        record.tokens[i], sampling.logprobs, kSimulatedVocabulary);
    if (sampling.logprobs < 0) {
      EXPECT_EQ(record.logprobs[i].id, -1);
      continue;
    }
    EXPECT_EQ(record.logprobs[i].id, record.tokens[i]);
    EXPECT_EQ(record.logprobs[i].logprob, expected.logprob());
    EXPECT_THAT(record.logprobs[i].top_ids,
                ElementsAreArray(expected.top_ids()));
  }
  if (sampling.prompt_logprobs < 0 || record.num_finished == 0) {
    EXPECT_LE(record.num_prompt_logprob_calls,
              sampling.prompt_logprobs < 0 ? 0 : 1);
    return;
  }
  EXPECT_EQ(record.num_prompt_logprob_calls, 1);
  std::vector<int32_t> ids;
  for (const TokenLogprob& logprob : record.prompt_logprobs) {
    ids.push_back(logprob.id);
  }
  EXPECT_THAT(ids, ElementsAreArray(expectation.request.prompt.begin() + 1,
                                    expectation.request.prompt.end()));
}

// Submits all at once and expects every stream to be the reference's.
void RunAll(SimulatedReplica* replica,
            const std::vector<Expectation>& expectations) {
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const Expectation& expectation : expectations) {
    auto sink = std::make_shared<RecordingSink>();
    RecordingSink* const raw = sink.get();
    auto id = std::make_shared<RequestId>(0);
    auto known = std::make_shared<absl::Mutex>();
    absl::MutexLock lock(known.get());  // until *id is written
    if (expectation.cancel_after > 0) {
      sink->OnEachToken([=](int64_t num_tokens) {
        if (num_tokens != expectation.cancel_after) return;
        absl::MutexLock lock(known.get());
        raw->Close();
        replica->scheduler().Cancel(*id);
      });
    }
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        *id, replica->scheduler().Submit(expectation.request, sink));
    if (expectation.cancel_after == 0) {
      replica->scheduler().Cancel(*id);
      raw->Close();
    }
    sinks.push_back(std::move(sink));
  }
  ASSERT_TRUE(replica->AwaitQuiescence()) << replica->end();
  for (size_t i = 0; i < expectations.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "request " << i);
    const Expectation& expectation = expectations[i];
    const int64_t cancelled = expectation.cancel_after;
    if (cancelled < 0) {
      ASSERT_TRUE(sinks[i]->AwaitFinished());
    }
    const RecordingSink::Record record = sinks[i]->record();
    EXPECT_EQ(record.misuse, "");
    ExpectLogprobs(expectation, record);
    if (cancelled >= 0 && record.num_finished == 0) {
      const int64_t length =
          std::min<int64_t>(record.tokens.size(), expectation.tokens.size());
      EXPECT_THAT(record.tokens,
                  ElementsAreArray(expectation.tokens.begin(),
                                   expectation.tokens.begin() + length));
      if (cancelled > 0) {  // by the sink itself: not one more
        EXPECT_EQ(static_cast<int64_t>(record.tokens.size()), cancelled);
      }
      continue;
    }
    EXPECT_THAT(record.tokens, ElementsAreArray(expectation.tokens));
    EXPECT_EQ(record.num_finished, 1);
    EXPECT_EQ(record.reason, expectation.reason);
    CARAVAN_EXPECT_OK(record.status);
  }
  const SchedulerStats stats = replica->scheduler().Stats();
  EXPECT_EQ(stats.blocks_used, 0);
  EXPECT_EQ(stats.steps_in_flight, 0);
  EXPECT_EQ(replica->group().num_blocks_used(), 0);
  EXPECT_EQ(replica->group().num_sequences(), 0);
}

struct Shape {
  int num_stages;
  int64_t max_batched_tokens;
  int64_t num_blocks;
};

class SchedulerSimulationTest : public ::testing::TestWithParam<Shape> {};

TEST_P(SchedulerSimulationTest, SixteenAtOnceGetWhatEachGetsAlone) {
  SimulatedReplica replica(
      {.max_batched_tokens = GetParam().max_batched_tokens});
  const EngineGroupInfo info =
      ReplicaInfo(GetParam().num_stages, GetParam().num_blocks);
  replica.StartEpoch(info);
  std::vector<Expectation> expectations;
  int64_t num_prompt = 0;
  int64_t num_generated = 0;
  for (int i = 0; i < 20; ++i) {
    GenerationRequest request{.prompt = Prompt(1 + i * 11 % 90, i),
                              .max_tokens = 1 + i * 13 % 70};
    expectations.push_back(Expect(request, info.max_model_len));
    num_prompt += static_cast<int64_t>(request.prompt.size());
    num_generated += request.max_tokens;
  }
  RunAll(&replica, expectations);
  const SchedulerStats stats = replica.scheduler().Stats();
  EXPECT_EQ(stats.prompt_tokens, num_prompt);
  EXPECT_EQ(stats.generated_tokens, num_generated);
  if (GetParam().num_blocks < 20) {
    EXPECT_GT(stats.preemptions, 0);
  } else {
    EXPECT_EQ(stats.preemptions, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, SchedulerSimulationTest,
    ::testing::Values(Shape{1, 512, 1000}, Shape{1, 7, 1000}, Shape{1, 1, 1000},
                      Shape{1, 64, 12}, Shape{2, 512, 1000}, Shape{2, 16, 12},
                      Shape{3, 32, 1000}, Shape{3, 5, 11}, Shape{4, 64, 1000},
                      Shape{4, 64, 12}),
    [](const auto& info) {
      return "Stages" + std::to_string(info.param.num_stages) + "Tokens" +
             std::to_string(info.param.max_batched_tokens) + "Blocks" +
             std::to_string(info.param.num_blocks);
    });

class RandomScenarioTest : public ::testing::TestWithParam<int> {};

TEST_P(RandomScenarioTest, EveryStreamIsTheReference) {
  std::mt19937 random(GetParam());
  const auto draw = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  EngineGroupInfo info = ReplicaInfo(static_cast<int>(draw(1, 4)), draw(8, 40));
  info.max_model_len = draw(60, 160);
  info.max_rows_per_step = draw(1, 100);
  info.max_sequences = draw(1, 12);
  SimulatedReplica replica(
      {.max_batched_tokens = draw(1, 100), .max_sequences = draw(1, 12)});
  replica.StartEpoch(info);
  std::vector<Expectation> expectations;
  for (int i = 0; i < 24; ++i) {
    GenerationRequest request;
    request.prompt = Prompt(draw(1, 59), static_cast<int32_t>(draw(0, 999)));
    request.max_tokens = draw(0, 120);
    if (draw(0, 3) == 0) request.sampling.logprobs = draw(0, 3);
    if (draw(0, 3) == 0) request.sampling.prompt_logprobs = draw(0, 3);
    if (draw(0, 2) == 0) {
      request.stop_tokens = {-5,
                             ReferenceTokens(request.prompt, 200)[draw(0, 60)]};
    }
    // What the cache alone cannot hold ends as what the model cannot.
    const int64_t room = info.num_blocks * 16 + 1;
    Expectation expectation =
        Expect(request, std::min(info.max_model_len, room));
    if (draw(0, 3) == 0) expectation.cancel_after = draw(0, 30);
    expectations.push_back(expectation);
  }
  RunAll(&replica, expectations);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomScenarioTest, ::testing::Range(0, 60));

TEST(SchedulerEpochTest, ItsEndReachesEverySinkOnceAndTheNextServes) {
  for (int num_stages = 1; num_stages <= 3; ++num_stages) {
    SimulatedReplica replica({.max_sequences = 6});
    replica.StartEpoch(ReplicaInfo(num_stages, 100));
    replica.group().FailAtStep(40, absl::InternalError("rank 2 died"));
    // Until all are there, however slow this thread is.
    replica.group().SetStalled(true);
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (int i = 0; i < 12; ++i) {
      sinks.push_back(std::make_shared<RecordingSink>());
      CARAVAN_ASSERT_OK(replica.scheduler().Submit(
          {.prompt = Prompt(5 + i, i), .max_tokens = 300}, sinks.back()));
    }
    replica.group().SetStalled(false);
    ASSERT_TRUE(replica.AwaitEnd());
    for (const auto& sink : sinks) {
      ASSERT_TRUE(sink->AwaitFinished());
      const RecordingSink::Record record = sink->record();
      EXPECT_EQ(record.num_finished, 1);
      EXPECT_EQ(record.misuse, "");
      EXPECT_EQ(record.reason, FinishReason::kError);
      EXPECT_THAT(record.status, StatusIs(absl::StatusCode::kUnavailable,
                                          HasSubstr("rank 2 died")));
    }
    SchedulerStats stats = replica.scheduler().Stats();
    EXPECT_FALSE(stats.ready);
    EXPECT_EQ(stats.num_running + stats.num_waiting, 0);
    EXPECT_EQ(stats.blocks_used, 0);
    EXPECT_EQ(stats.steps_in_flight, 0);
    EXPECT_THAT(replica.scheduler().Submit({.prompt = {1}}, sinks[0]),
                StatusIs(absl::StatusCode::kUnavailable));

    EngineGroupInfo info = ReplicaInfo(num_stages, 100);
    info.epoch = 2;
    replica.StartEpoch(info);
    RunAll(&replica, {Expect({.prompt = Prompt(9, 1)}, info.max_model_len)});
    EXPECT_EQ(replica.scheduler().Stats().epoch, 2u);
  }
}

// The queue is bounded while the engines hang, and moves on when they do.
TEST(SchedulerEpochTest, RefusesWhenTheQueueIsFull) {
  SimulatedReplica replica({.max_queued_requests = 3, .max_sequences = 2});
  replica.StartEpoch(ReplicaInfo(1, 100));
  replica.group().SetStalled(true);
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  // The first fills both steps in flight, prefill and decode; three wait.
  for (int i = 0; i < 4; ++i) {
    sinks.push_back(std::make_shared<RecordingSink>());
    CARAVAN_ASSERT_OK(replica.scheduler().Submit(
        {.prompt = Prompt(600 / (i + 2), i), .max_tokens = 5}, sinks.back()));
  }
  SchedulerStats stats = replica.scheduler().Stats();
  EXPECT_EQ(stats.num_running, 1);
  EXPECT_EQ(stats.num_waiting, 3);
  EXPECT_EQ(stats.steps_in_flight, 2);
  EXPECT_GT(stats.blocks_used, 0);
  EXPECT_THAT(replica.scheduler().Submit({.prompt = {1}},
                                         std::make_shared<RecordingSink>()),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("max_queued_requests=3")));
  replica.group().SetStalled(false);
  ASSERT_TRUE(replica.AwaitQuiescence()) << replica.end();
  for (const auto& sink : sinks) EXPECT_TRUE(sink->AwaitFinished());
  EXPECT_EQ(replica.scheduler().Stats().blocks_used, 0);
}

// Clients come, leave and are served on their own threads, while epochs end.
TEST(SchedulerThreadsTest, ManyClientsAndEpochs) {
  SimulatedReplica replica({.max_batched_tokens = 64, .max_sequences = 8});
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) {
    EngineGroupInfo info = ReplicaInfo(2, 20);
    info.epoch = epoch;
    replica.StartEpoch(info);
    if (epoch == 2) {
      replica.group().FailAtStep(100, absl::UnavailableError("link down"));
    }
    std::vector<std::thread> clients;
    for (int client = 0; client < 4; ++client) {
      clients.emplace_back([&replica, client] {
        for (int i = 0; i < 20; ++i) {
          auto sink = std::make_shared<RecordingSink>();
          const GenerationRequest request{.prompt = Prompt(1 + i * 3, client),
                                          .max_tokens = 40};
          const auto id = replica.scheduler().Submit(request, sink);
          if (!id.ok()) {
            EXPECT_THAT(id, StatusIs(absl::StatusCode::kUnavailable));
            return;
          }
          if (i % 3 == 0) {
            std::this_thread::yield();
            replica.scheduler().Cancel(*id);
            sink->Close();
          } else {
            ASSERT_TRUE(sink->AwaitFinished());
            const RecordingSink::Record record = sink->record();
            if (record.reason == FinishReason::kLength) {
              EXPECT_THAT(record.tokens, ElementsAreArray(ReferenceTokens(
                                             request.prompt, 40)));
            }
          }
          const RecordingSink::Record record = sink->record();
          EXPECT_EQ(record.misuse, "");
          EXPECT_THAT(record.num_finished, AnyOf(0, 1));
        }
      });
    }
    for (std::thread& client : clients) client.join();
    if (epoch == 2) {
      ASSERT_TRUE(replica.AwaitEnd());
      EXPECT_THAT(replica.end(), StatusIs(absl::StatusCode::kUnavailable));
    } else {
      ASSERT_TRUE(replica.AwaitQuiescence()) << replica.end();
    }
    EXPECT_EQ(replica.scheduler().Stats().blocks_used, 0);
    EXPECT_EQ(replica.scheduler().Stats().steps_in_flight, 0);
  }
}

}  // namespace
}  // namespace caravan::coordinator
