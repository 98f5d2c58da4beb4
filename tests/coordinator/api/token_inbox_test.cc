#include "coordinator/api/token_inbox.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;

TEST(TokenInboxTest, WakesOnceBetweenDrains) {
  int num_wakes = 0;
  const auto inbox =
      std::make_shared<TokenInbox>([&] { ++num_wakes; }, 1 << 20);
  const auto first = inbox->MakeSink(0);
  const auto second = inbox->MakeSink(1);
  first->OnToken({.id = 5});
  second->OnToken({.id = 6});
  EXPECT_EQ(num_wakes, 1);
  std::vector<TokenEvent> events;
  CARAVAN_ASSERT_OK(inbox->Drain(&events));
  ASSERT_EQ(events.size(), 2);
  EXPECT_EQ(events[0].choice, 0);
  EXPECT_EQ(events[0].token->id, 5);
  EXPECT_EQ(events[1].choice, 1);
  first->OnFinished(FinishReason::kLength, absl::OkStatus());
  EXPECT_EQ(num_wakes, 2);
  CARAVAN_ASSERT_OK(inbox->Drain(&events));
  ASSERT_EQ(events.size(), 1);
  EXPECT_EQ(events[0].end->reason, FinishReason::kLength);
  CARAVAN_ASSERT_OK(inbox->Drain(&events));
  EXPECT_TRUE(events.empty());
}

TEST(TokenInboxTest, HoldsNoMoreThanItMay) {
  const auto inbox = std::make_shared<TokenInbox>([] {}, 4096);
  const auto sink = inbox->MakeSink(0);
  for (int i = 0; i < 10000; ++i) sink->OnToken({.id = i});
  std::vector<TokenEvent> events;
  EXPECT_THAT(inbox->Drain(&events),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_LT(events.size(), 100);
}

TEST(TokenInboxTest, NeverWakesAfterClose) {
  int num_wakes = 0;
  const auto inbox =
      std::make_shared<TokenInbox>([&] { ++num_wakes; }, 1 << 20);
  const auto sink = inbox->MakeSink(0);
  inbox->Close();
  sink->OnToken({.id = 5});
  sink->OnFinished(FinishReason::kStop, absl::OkStatus());
  EXPECT_EQ(num_wakes, 0);
}

}  // namespace
}  // namespace caravan::coordinator
