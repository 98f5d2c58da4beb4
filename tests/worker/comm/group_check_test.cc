#include "worker/comm/group_check.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(GroupCheckTest, RankIsThePlaceAmongTheMembers) {
  const GroupOptions options{.name = "pp1", .world_ranks = {5, 1, 3}};
  EXPECT_THAT(FindGroupRank(options, 5, 6), IsOkAndHolds(0));
  EXPECT_THAT(FindGroupRank(options, 3, 6), IsOkAndHolds(2));
}

TEST(GroupCheckTest, RefusesATypeInWhichNothingTravels) {
  EXPECT_THAT(
      FindGroupRank(
          {.name = "bad", .world_ranks = {0}, .wire_dtype = DType::kFloat16}, 0,
          1),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("float16"), HasSubstr("group=bad"))));
  EXPECT_THAT(
      FindGroupRank(
          {.name = "tp0", .world_ranks = {0}, .wire_dtype = DType::kBFloat16},
          0, 1),
      IsOkAndHolds(0));
}

TEST(GroupCheckTest, RefusesWhatIsNoGroup) {
  const struct {
    std::vector<int> ranks;
    absl::Duration timeout;
    const char* text;
  } cases[] = {
      {{}, absl::Seconds(1), "without members"},
      {{0, 2}, absl::Seconds(1), "no rank"},
      {{-1, 0}, absl::Seconds(1), "no rank"},
      {{0, 1, 0}, absl::Seconds(1), "twice"},
      {{1}, absl::Seconds(1), "no member"},
      {{0, 1}, absl::ZeroDuration(), "positive"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(
        FindGroupRank(
            {.name = "bad", .world_ranks = test.ranks, .timeout = test.timeout},
            0, 2),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(HasSubstr(test.text), HasSubstr("group=bad"))));
  }
}

}  // namespace
}  // namespace caravan::worker
