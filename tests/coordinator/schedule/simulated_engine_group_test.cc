#include "coordinator/schedule/simulated_engine_group.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/simulated_token.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::FakeClock;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What the group calls.
class Maker {
 public:
  explicit Maker(absl::Duration per_step = {}, Clock* clock = nullptr)
      : group_({.info = {.replica = 1,
                         .epoch = 1,
                         .num_stages = 1,
                         .num_blocks = 10,
                         .max_model_len = 100,
                         .max_rows_per_step = 100,
                         .max_sequences = 4},
                .vocabulary_size = 50,
                .per_step = per_step,
                .per_row = per_step / 10,
                .clock = clock,
                .on_result =
                    [this](const v1::StepResult& result) {
                      absl::MutexLock lock(&mutex_);
                      results_.push_back(result);
                      return answer_;
                    },
                .on_end =
                    [this](const absl::Status& status) {
                      absl::MutexLock lock(&mutex_);
                      ends_.push_back(status);
                    }}) {}

  SimulatedEngineGroup& group() { return group_; }

  // Step 1 brings a sequence, later ones continue it.
  void Issue(uint64_t number) {
    v1::Step step;
    step.set_epoch(1);
    step.set_number(number);
    v1::StepEntry* entry = step.add_entries();
    entry->set_sequence(1);
    entry->set_sample(true);
    if (number == 1) {
      step.add_new_sequences()->set_sequence(1);
      step.mutable_new_sequences(0)->mutable_sampling()->set_logprobs(-1);
      entry->add_ids(7);
      entry->add_new_blocks(0);
    }
    group_.Issue(step);
  }

  void Answer(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    answer_ = status;
  }

  bool AwaitResults(size_t count) {
    absl::MutexLock lock(&mutex_);
    struct Wanted {
      Maker* self;
      size_t count;
    } wanted{this, count};
    return mutex_.AwaitWithTimeout(absl::Condition(
                                       +[](Wanted* wanted) {
                                         return wanted->self->results_.size() >=
                                                wanted->count;
                                       },
                                       &wanted),
                                   absl::Seconds(20));
  }

  bool AwaitEnd() {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(
        absl::Condition(
            +[](Maker* self) { return !self->ends_.empty(); }, this),
        absl::Seconds(20));
  }

  std::vector<absl::Status> ends() {
    absl::MutexLock lock(&mutex_);
    return ends_;
  }

  std::vector<v1::StepResult> results() {
    absl::MutexLock lock(&mutex_);
    return results_;
  }

 private:
  absl::Mutex mutex_;
  absl::Status answer_;
  std::vector<v1::StepResult> results_;
  std::vector<absl::Status> ends_;
  SimulatedEngineGroup group_;  // last: its thread uses the rest
};

TEST(SimulatedEngineGroupTest, AnswersInOrder) {
  Maker maker;
  maker.Issue(1);
  maker.Issue(2);
  ASSERT_TRUE(maker.AwaitResults(2));
  const auto results = maker.results();
  EXPECT_EQ(results[0].number(), 1u);
  EXPECT_EQ(results[1].number(), 2u);
  const int32_t first = SimulatedToken(7, 1, 50);
  EXPECT_EQ(results[0].sequences(0).id(), first);
  EXPECT_EQ(results[1].sequences(0).id(), SimulatedToken(first, 2, 50));
  EXPECT_EQ(maker.group().num_sequences(), 1);
  EXPECT_EQ(maker.group().num_blocks_used(), 1);
}

TEST(SimulatedEngineGroupTest, TakesTheTimeItIsTold) {
  FakeClock clock;
  Maker maker(absl::Milliseconds(10), &clock);  // 11 ms with its row
  maker.Issue(1);
  maker.Issue(2);
  clock.Advance(absl::Milliseconds(10));
  EXPECT_TRUE(maker.results().empty());
  clock.Advance(absl::Milliseconds(1));
  ASSERT_TRUE(maker.AwaitResults(1));
  EXPECT_EQ(maker.results().size(), 1u);
  clock.Advance(absl::Milliseconds(11));
  ASSERT_TRUE(maker.AwaitResults(2));
}

TEST(SimulatedEngineGroupTest, ABrokenProtocolEndsIt) {
  Maker maker;
  maker.Issue(1);
  maker.Issue(3);
  maker.Issue(4);
  ASSERT_TRUE(maker.AwaitEnd());
  EXPECT_THAT(maker.ends(),
              ElementsAre(StatusIs(absl::StatusCode::kInternal,
                                   HasSubstr("expected number=2"))));
  EXPECT_EQ(maker.results().size(), 1u);
  maker.Issue(2);  // too late: dropped
}

TEST(SimulatedEngineGroupTest, FailsWhenTold) {
  Maker maker;
  maker.group().FailAtStep(2, absl::UnavailableError("rank 1 was killed"));
  maker.Issue(1);
  maker.Issue(2);
  ASSERT_TRUE(maker.AwaitEnd());
  EXPECT_THAT(maker.ends(), ElementsAre(StatusIs(absl::StatusCode::kUnavailable,
                                                 HasSubstr("rank 1"))));
  EXPECT_EQ(maker.results().size(), 1u);
}

TEST(SimulatedEngineGroupTest, ARefusedResultEndsIt) {
  Maker maker;
  maker.Answer(absl::InternalError("no such step"));
  maker.Issue(1);
  maker.Issue(2);
  ASSERT_TRUE(maker.AwaitEnd());
  EXPECT_THAT(maker.ends(), ElementsAre(StatusIs(absl::StatusCode::kInternal)));
  EXPECT_EQ(maker.results().size(), 1u);
}

TEST(SimulatedEngineGroupTest, StallsAndGoesOn) {
  Maker maker;
  maker.group().SetStalled(true);
  maker.Issue(1);
  EXPECT_TRUE(maker.results().empty());
  maker.group().SetStalled(false);
  EXPECT_TRUE(maker.AwaitResults(1));
}

TEST(SimulatedEngineGroupTest, EndsWhileItWaitsOrStalls) {
  FakeClock clock;
  {
    Maker waits(absl::Hours(1), &clock);
    waits.Issue(1);
    Maker stalled;
    stalled.group().SetStalled(true);
    stalled.Issue(1);
  }
  SUCCEED();  // it has joined
}

}  // namespace
}  // namespace caravan::coordinator
