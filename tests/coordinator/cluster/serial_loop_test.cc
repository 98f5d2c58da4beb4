#include "coordinator/cluster/serial_loop.h"

#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

TEST(SerialLoopTest, TasksRunInOrderAndAllBeforeStop) {
  testing::FakeClock clock;
  SerialLoop loop(&clock);
  std::vector<int> ran;
  CARAVAN_ASSERT_OK(loop.Start([] { return absl::InfiniteFuture(); }));
  for (int i = 0; i < 100; ++i) {
    loop.Post([&ran, i] { ran.push_back(i); });
  }
  loop.Stop();
  ASSERT_EQ(ran.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ran[i], i);
  loop.Post([&ran] { ran.push_back(-1); });
  EXPECT_EQ(ran.size(), 100u);
}

TEST(SerialLoopTest, WakesAtTheTimeThatItWasTold) {
  testing::FakeClock clock;
  const absl::Time alarm = clock.Now() + absl::Seconds(5);
  SerialLoop loop(&clock);
  absl::Notification rang;
  CARAVAN_ASSERT_OK(loop.Start([&] {
    if (clock.Now() < alarm) return alarm;
    if (!rang.HasBeenNotified()) rang.Notify();
    return absl::InfiniteFuture();
  }));
  EXPECT_FALSE(rang.HasBeenNotified());
  clock.Advance(absl::Seconds(5));
  EXPECT_TRUE(rang.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

}  // namespace
}  // namespace caravan::coordinator
