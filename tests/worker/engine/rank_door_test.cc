#include "worker/engine/rank_door.h"

#include <string>
#include <thread>

#include "caravan/v1/plan.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(RankDoor, RanksMeetAtTheEndpointsOfTheirPlan) {
  RankDoor doors[2];
  v1::EnginePlan plan;
  plan.set_meeting_secret("secret");
  for (RankDoor& door : doors) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(std::string endpoint, door.Open("127.0.0.1"));
    EXPECT_THAT(endpoint, StartsWith("127.0.0.1:"));
    plan.add_ranks()->set_endpoint(endpoint);
  }
  std::thread other([&] {
    CARAVAN_EXPECT_OK(
        doors[1].Join({.plan = &plan, .rank = 1}, absl::Seconds(30)));
  });
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto world,
      doors[0].Join({.plan = &plan, .rank = 0}, absl::Seconds(30)));
  EXPECT_EQ(world->rank(), 0);
  EXPECT_EQ(world->size(), 2);
  other.join();
}

TEST(RankDoor, StaysClosedWithoutAnAddress) {
  RankDoor door;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string endpoint, door.Open(""));
  EXPECT_THAT(endpoint, IsEmpty());
  v1::EnginePlan plan;
  plan.add_ranks();
  plan.add_ranks();
  EXPECT_THAT(door.Join({.plan = &plan, .rank = 1}, absl::Seconds(30)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("rank=1 ranks=2")));
}

}  // namespace
}  // namespace caravan::worker
