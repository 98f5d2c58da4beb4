#include "worker/engine/step_loop.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;

constexpr int kForever = 1 << 30;

// What happened, in order, in words.
using Journal = std::vector<std::string>;

// Of each step, the next of `looks` says how often one may be begun behind it
// before its result is there.
class FakeExecutor final : public StepExecutor {
 public:
  FakeExecutor(Journal& journal, std::deque<int> looks)
      : journal_(journal), looks_(std::move(looks)) {}

  absl::Status Begin(const v1::Step& step) override {
    journal_.push_back(absl::StrCat("begin ", step.number()));
    begun_.push_back(step.number());
    if (step.number() == fails_to_begin) return absl::DataLossError("begin");
    return absl::OkStatus();
  }
  absl::StatusOr<v1::StepResult> Finish() override {
    const uint64_t number = begun_.front();
    begun_.pop_front();
    if (!looks_.empty()) looks_.pop_front();
    journal_.push_back(absl::StrCat("finish ", number));
    if (number == fails_to_finish) return absl::DataLossError("finish");
    v1::StepResult result;
    result.set_number(number);
    return result;
  }
  bool CanBeginAhead() const override {
    return begun_.size() == 1 && !looks_.empty() && looks_.front()-- > 0;
  }

  uint64_t fails_to_begin = 0;
  uint64_t fails_to_finish = 0;

 private:
  Journal& journal_;
  mutable std::deque<int> looks_;
  std::deque<uint64_t> begun_;
};

// Has `there` steps at once, the others when nothing is begun, then stops.
class FakeHost final : public StepHost {
 public:
  FakeHost(Journal& journal, int there, int total)
      : journal_(journal), there_(there), total_(total) {}

  absl::StatusOr<v1::Step> NextStep(absl::Time deadline) override {
    const bool waits = deadline == absl::InfiniteFuture();
    if (next_ > there_ && !waits) return absl::DeadlineExceededError("none");
    if (next_ > total_) return absl::CancelledError("stop");
    v1::Step step;
    step.set_number(next_++);
    return step;
  }
  void OnIdle() override { journal_.push_back("idle"); }
  void OnStep(uint64_t number) override { step = number; }
  void OnResult(v1::StepResult result) override {
    EXPECT_EQ(result.number(), step);
    journal_.push_back(absl::StrCat("result ", result.number()));
  }

  uint64_t step = 0;

 private:
  Journal& journal_;
  const int there_;
  const int total_;
  int next_ = 1;
};

TEST(StepLoopTest, StepsThatAreThereAreBegunFirst) {
  Journal journal;
  FakeExecutor executor(journal, {kForever, kForever, kForever});
  FakeHost host(journal, /*there=*/4, /*total=*/3);
  StepLoop loop(executor, host);
  EXPECT_THAT(loop.Run(), StatusIs(absl::StatusCode::kCancelled, "stop"));
  EXPECT_EQ(loop.num_begun(), 3);
  EXPECT_EQ(loop.num_ahead(), 2);
  // The stop was there too, behind them: results before it are not lost.
  EXPECT_THAT(journal, ElementsAre("idle", "begin 1", "begin 2", "finish 1",
                                   "result 1", "begin 3", "finish 2",
                                   "result 2", "finish 3", "result 3"));
}

TEST(StepLoopTest, KnownResultsLeaveFirst) {
  Journal journal;
  FakeExecutor executor(journal, {});
  FakeHost host(journal, /*there=*/2, /*total=*/2);
  StepLoop loop(executor, host);
  EXPECT_THAT(loop.Run(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(loop.num_ahead(), 0);
  EXPECT_THAT(journal,
              ElementsAre("idle", "begin 1", "finish 1", "result 1", "idle",
                          "begin 2", "finish 2", "result 2", "idle"));
}

// Of a step and a result that are both waited for the result comes first.
TEST(StepLoopTest, ResultsThatComeEndTheWaitForAStep) {
  Journal journal;
  FakeExecutor executor(journal, {5, 0});
  FakeHost host(journal, /*there=*/1, /*total=*/2);
  EXPECT_THAT(StepLoop(executor, host).Run(),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(journal,
              ElementsAre("idle", "begin 1", "finish 1", "result 1", "idle",
                          "begin 2", "finish 2", "result 2", "idle"));
}

// A device that stands still: the wait for it is Finish's, which has an end.
TEST(StepLoopTest, NoStepIsWaitedForForever) {
  Journal journal;
  FakeExecutor executor(journal, {kForever});
  FakeHost host(journal, /*there=*/1, /*total=*/1);
  EXPECT_THAT(StepLoop(executor, host).Run(),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(journal,
              ElementsAre("idle", "begin 1", "finish 1", "result 1", "idle"));
}

TEST(StepLoopTest, ErrorsBelongToTheirStep) {
  for (const bool as_it_begins : {false, true}) {
    Journal journal;
    FakeExecutor executor(journal, {kForever, kForever});
    (as_it_begins ? executor.fails_to_begin : executor.fails_to_finish) =
        as_it_begins ? 2 : 1;
    FakeHost host(journal, /*there=*/3, /*total=*/3);
    EXPECT_THAT(StepLoop(executor, host).Run(),
                StatusIs(absl::StatusCode::kDataLoss,
                         as_it_begins ? "begin" : "finish"));
    // Step 2 is begun by then, either way.
    EXPECT_EQ(host.step, as_it_begins ? 2u : 1u);
    EXPECT_EQ(journal[2], "begin 2");
  }
}

}  // namespace
}  // namespace caravan::worker
