#include "worker/comm/waiter.h"

#include <atomic>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

std::string Nobody() { return NamePeers({3, 5}); }

TEST(WaiterTest, AConditionThatHoldsNeedsNoWait) {
  Waiter waiter({.name = "tp0"});
  CARAVAN_EXPECT_OK(waiter.Await(
      waiter.Begin("receive", absl::ZeroDuration()), [] { return true; },
      Nobody));
}

TEST(WaiterTest, TheDeadlineNamesOperationGroupAndPeers) {
  std::atomic<int> waits = 0;
  Waiter waiter({.name = "tp0",
                 .timeout = absl::Milliseconds(20),
                 .on_wait =
                     [](void* context) {
                       static_cast<std::atomic<int>*>(context)->fetch_add(1);
                     },
                 .on_wait_context = &waits});
  EXPECT_THAT(
      waiter.Await(
          waiter.Begin("all-reduce"), [] { return false; }, Nobody),
      StatusIs(absl::StatusCode::kDeadlineExceeded,
               "all-reduce timed out: group=tp0 peer=3 peer=5 after=20ms"));
  EXPECT_GE(waits.load(), 2);
}

TEST(WaiterTest, NotifyWakesTheWaitingThread) {
  std::atomic<bool> waits = false;
  Waiter waiter({.name = "tp0",
                 .on_wait =
                     [](void* context) {
                       static_cast<std::atomic<bool>*>(context)->store(true);
                     },
                 .on_wait_context = &waits});
  std::atomic<bool> ready = false;
  std::thread other([&] {
    while (!waits.load()) std::this_thread::yield();
    ready.store(true);
    waiter.Notify();
  });
  CARAVAN_EXPECT_OK(waiter.Await(
      waiter.Begin("receive"), [&] { return ready.load(); }, Nobody));
  other.join();
}

TEST(WaiterTest, TheFirstAbortWins) {
  Waiter waiter({.name = "tp0"});
  CARAVAN_EXPECT_OK(waiter.CheckAborted());
  waiter.Abort(absl::UnavailableError("rank 2 is lost"));
  waiter.Abort(absl::UnavailableError("too late"));
  const auto aborted = StatusIs(absl::StatusCode::kAborted,
                                "group aborted: group=tp0: rank 2 is lost");
  EXPECT_THAT(waiter.CheckAborted(), aborted);
  EXPECT_THAT(waiter.Await(
                  waiter.Begin("receive"), [] { return true; }, Nobody),
              aborted);
}

TEST(WaiterTest, AnEndlessTimeoutDoesNotOverflow) {
  Waiter waiter({.name = "tp0", .timeout = absl::InfiniteDuration()});
  const Call call = waiter.Begin("receive");
  EXPECT_GT(call.deadline,
            std::chrono::steady_clock::now() + std::chrono::hours(1));
}

TEST(WaiterTest, AnotherSizeIsInternal) {
  Waiter waiter({.name = "pp0"});
  const Call call = waiter.Begin("receive");
  CARAVAN_EXPECT_OK(waiter.CheckSize(call, 1, 8, 8));
  EXPECT_THAT(waiter.CheckSize(call, 1, 8, 9),
              StatusIs(absl::StatusCode::kInternal,
                       HasSubstr("group=pp0 peer=1 expected=8 got=9")));
}

}  // namespace
}  // namespace caravan::worker
