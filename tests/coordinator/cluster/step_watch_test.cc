#include "coordinator/cluster/step_watch.h"

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

TEST(StepWatchTest, NothingInFlightNeverStalls) {
  StepWatch watch(0.1, absl::Seconds(3));
  EXPECT_EQ(watch.View().in_flight, 0);
  EXPECT_EQ(watch.View().since, absl::InfiniteFuture());
}

TEST(StepWatchTest, FirstStepIsAllowedByItsRows) {
  StepWatch watch(0.1, absl::Seconds(3));
  watch.OnIssued(1, 100, kStart);
  EXPECT_EQ(watch.View().allowance, absl::Seconds(15));
  EXPECT_EQ(watch.View().since, kStart);
  EXPECT_EQ(watch.View().oldest_step, 1u);
}

TEST(StepWatchTest, FastStepsAreAllowedThreeSeconds) {
  StepWatch watch(100, absl::Seconds(3));
  watch.OnIssued(1, 8, kStart);
  watch.OnIssued(2, 8, kStart);
  watch.OnCompleted(1, kStart + absl::Milliseconds(20));
  EXPECT_EQ(watch.View().in_flight, 1);
  EXPECT_EQ(watch.View().allowance, absl::Seconds(3));
  // The second waited for the first.
  EXPECT_EQ(watch.View().since, kStart + absl::Milliseconds(20));
}

TEST(StepWatchTest, TheLeastTimeIsAsTold) {
  StepWatch watch(0.1, absl::Seconds(60));
  watch.OnIssued(1, 10, kStart);
  EXPECT_EQ(watch.View().allowance, absl::Seconds(63));
  watch.OnCompleted(1, kStart + absl::Milliseconds(1));
  watch.OnIssued(2, 10, kStart + absl::Milliseconds(1));
  EXPECT_EQ(watch.View().allowance, absl::Seconds(60));
}

TEST(StepWatchTest, SlowStepsAreAllowedTenTimesAsLong) {
  StepWatch watch(0.1, absl::Seconds(3));
  watch.OnIssued(1, 8, kStart);
  watch.OnCompleted(1, kStart + absl::Seconds(2));
  watch.OnIssued(2, 8, kStart + absl::Seconds(5));
  EXPECT_NEAR(absl::ToDoubleSeconds(watch.View().allowance), 20, 1e-6);
}

TEST(StepWatchTest, PrefillIsAllowedInProportionToItsTokens) {
  StepWatch watch(0.1, absl::Seconds(3));
  watch.OnIssued(1, 1, kStart);
  watch.OnCompleted(1, kStart + absl::Milliseconds(10));
  watch.OnIssued(2, 512, kStart + absl::Seconds(1));
  EXPECT_NEAR(absl::ToDoubleSeconds(watch.View().allowance), 51.2, 1e-6);
  // Once a prefill has been seen, its own duration counts.
  watch.OnCompleted(2, kStart + absl::Seconds(2));
  watch.OnIssued(3, 512, kStart + absl::Seconds(3));
  EXPECT_NEAR(absl::ToDoubleSeconds(watch.View().allowance), 10, 1e-6);
}

TEST(StepWatchTest, UnknownNumbersAreIgnored) {
  StepWatch watch(0.1, absl::Seconds(3));
  watch.OnCompleted(9, kStart);
  watch.OnIssued(10, 1, kStart);
  watch.OnCompleted(9, kStart);
  EXPECT_EQ(watch.View().in_flight, 1);
}

}  // namespace
}  // namespace caravan::coordinator
