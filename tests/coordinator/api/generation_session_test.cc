#include "coordinator/api/generation_session.h"

#include <map>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/simulated_backend.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::ByteTokenizer;
using ::caravan::testing::SimulatedBackend;
using ::caravan::testing::StatusIs;
using ::testing::IsEmpty;

class GenerationSessionTest : public ::testing::Test {
 protected:
  explicit GenerationSessionTest(
      caravan::testing::SimulatedBackendOptions options = {})
      : backend_(options), model_(backend_.model()) {
    generation_.parameters.ignore_eos = true;
  }

  void AddPrompt(const std::string& text, int64_t max_tokens) {
    generation_.prompts.push_back(
        {.ids = SimulatedBackend::PromptIds(text), .max_tokens = max_tokens});
  }

  absl::StatusOr<std::unique_ptr<GenerationSession>> Start() {
    GenerationSession::Options options;
    options.scheduler = &backend_.scheduler();
    options.model = &model_;
    options.id = "test";
    options.max_pending_bytes = 1 << 20;
    options.wake = [this] {
      absl::MutexLock lock(&mutex_);
      is_woken_ = true;
    };
    return GenerationSession::Start(options, generation_);
  }

  // Waits for news, then takes them.
  absl::StatusOr<std::vector<ChoiceDelta>> AwaitNews(
      GenerationSession* session) {
    {
      absl::MutexLock lock(&mutex_);
      if (!mutex_.AwaitWithTimeout(absl::Condition(&is_woken_),
                                   absl::Seconds(10))) {
        return absl::DeadlineExceededError("nothing came");
      }
      is_woken_ = false;
    }
    return session->Advance();
  }

  // Runs to the end.
  absl::StatusOr<std::map<int, ChoiceDelta>> Run(GenerationSession* session) {
    std::map<int, ChoiceDelta> whole;
    while (!session->done()) {
      auto deltas = AwaitNews(session);
      if (!deltas.ok()) return deltas.status();
      for (ChoiceDelta& delta : *deltas) {
        whole[delta.index].Append(std::move(delta));
      }
    }
    return whole;
  }

  SimulatedBackend backend_;
  ServedModel model_;
  PreparedGeneration generation_;
  absl::Mutex mutex_;
  bool is_woken_ ABSL_GUARDED_BY(mutex_) = false;
};

TEST_F(GenerationSessionTest, GeneratesEveryChoice) {
  AddPrompt("first", 12);
  AddPrompt("second", 20);
  generation_.parameters.num_choices = 2;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto session, Start());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto whole, Run(session.get()));
  ASSERT_EQ(whole.size(), 4);
  EXPECT_EQ(whole.at(0).text, backend_.ExpectedText("first", 12));
  EXPECT_EQ(whole.at(1).text, backend_.ExpectedText("first", 12));
  EXPECT_EQ(whole.at(2).text, backend_.ExpectedText("second", 20));
  EXPECT_EQ(whole.at(3).text, backend_.ExpectedText("second", 20));
  EXPECT_TRUE(whole.at(3).end->by_length);
  EXPECT_EQ(session->usage().prompt_tokens, 6 + 7);
  EXPECT_EQ(session->usage().completion_tokens, 64);
  EXPECT_TRUE(backend_.IsIdleSoon());
}

TEST_F(GenerationSessionTest, AStopStringFreesTheSequence) {
  AddPrompt("stop me", 2000);
  const std::string text = backend_.ExpectedText("stop me", 200);
  const std::string stop = text.substr(40, 6);
  generation_.parameters.stop = {stop};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto session, Start());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto whole, Run(session.get()));
  EXPECT_EQ(whole.at(0).text, text.substr(0, text.find(stop)));
  EXPECT_EQ(whole.at(0).end->stop_string, stop);
  EXPECT_TRUE(backend_.IsIdleSoon());
}

TEST_F(GenerationSessionTest, AStopTokenEndsIt) {
  AddPrompt("stop", 200);
  const std::vector<int32_t> ids =
      SimulatedBackend::ExpectedIds(SimulatedBackend::PromptIds("stop"), 200);
  generation_.parameters.stop_token_ids = {ids[9]};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto session, Start());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto whole, Run(session.get()));
  EXPECT_EQ(whole.at(0).completion_tokens, 10);
  EXPECT_EQ(whole.at(0).end->stop_token, ids[9]);
}

TEST_F(GenerationSessionTest, ScoresAPromptWithoutGenerating) {
  AddPrompt("abc", 0);
  generation_.prompts[0].text = "abc";
  generation_.echo = true;
  generation_.parameters.logprobs = 2;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto session, Start());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto whole, Run(session.get()));
  EXPECT_EQ(whole.at(0).text, "abc");
  ASSERT_EQ(whole.at(0).scores.size(), 4);
  EXPECT_FALSE(whole.at(0).scores[0].logprob.has_value());
  EXPECT_TRUE(whole.at(0).scores[3].logprob.has_value());
  EXPECT_EQ(whole.at(0).completion_tokens, 0);
  EXPECT_THAT(whole.at(0).token_ids, IsEmpty());
  EXPECT_TRUE(whole.at(0).end->by_length);
  EXPECT_TRUE(backend_.IsIdleSoon());
}

TEST_F(GenerationSessionTest, EchoesAPromptWithoutTheEngines) {
  AddPrompt("abc", 0);
  generation_.prompts[0].text = "abc";
  generation_.echo = true;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto session, Start());
  EXPECT_TRUE(session->done());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto deltas, session->Advance());
  ASSERT_EQ(deltas.size(), 1);
  EXPECT_EQ(deltas[0].text, "abc");
  EXPECT_EQ(backend_.scheduler().Stats().steps_completed, 0);
}

TEST_F(GenerationSessionTest, ItsEndCancelsWhatRuns) {
  AddPrompt("abc", 2000);
  AddPrompt("def", 2000);
  backend_.SetStalled(true);
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto session, Start());
  session.reset();
  backend_.SetStalled(false);
  EXPECT_TRUE(backend_.IsIdleSoon());
}

TEST_F(GenerationSessionTest, ALostReplicaIsAnError) {
  AddPrompt("abc", 2000);
  backend_.SetStalled(true);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto session, Start());
  backend_.EndEpoch(absl::UnavailableError("engine 3 exited"));
  EXPECT_THAT(Run(session.get()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Start(), StatusIs(absl::StatusCode::kUnavailable));
}

class FullQueueTest : public GenerationSessionTest {
 protected:
  FullQueueTest()
      : GenerationSessionTest({.max_queued_requests = 3, .max_sequences = 1}) {}
};

TEST_F(FullQueueTest, SubmitsAllOrNothing) {
  backend_.SetStalled(true);
  for (int i = 0; i < 6; ++i) AddPrompt("abc", 100);
  EXPECT_THAT(Start(), StatusIs(absl::StatusCode::kResourceExhausted));
  backend_.SetStalled(false);
  EXPECT_TRUE(backend_.IsIdleSoon());
}

}  // namespace
}  // namespace caravan::coordinator
