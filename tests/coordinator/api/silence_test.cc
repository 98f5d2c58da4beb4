#include "coordinator/api/silence.h"

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace caravan::coordinator {
namespace {

TEST(SilenceTest, LastsUntilItIsBroken) {
  caravan::testing::FakeClock clock;
  Silence silence(&clock, absl::Seconds(15));
  EXPECT_EQ(silence.left(), absl::Seconds(15));
  clock.Advance(absl::Seconds(10));
  EXPECT_EQ(silence.left(), absl::Seconds(5));
  silence.Break();
  EXPECT_EQ(silence.left(), absl::Seconds(15));
  clock.Advance(absl::Seconds(15));
  EXPECT_EQ(silence.left(), absl::ZeroDuration());
  clock.Advance(absl::Hours(1));
  EXPECT_EQ(silence.left(), absl::ZeroDuration());
  silence.Break();
  EXPECT_EQ(silence.left(), absl::Seconds(15));
}

TEST(SilenceTest, StandsAClockThatIsSetBack) {
  caravan::testing::FakeClock clock;
  const Silence silence(&clock, absl::Seconds(15));
  clock.Advance(-absl::Hours(1));
  EXPECT_EQ(silence.left(), absl::Seconds(15));
}

}  // namespace
}  // namespace caravan::coordinator
