#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/partition/plan/plan_cases.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(FormatPlanTest, ShowsEveryRankAndTheTotals) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan plan, MakePlan(Named("llama-2-7b"), Devices(4, 16 * kGiB),
                                {.tp = 2, .pp = 2, .num_blocks = 100}));
  const std::string text = FormatPlan(plan);
  EXPECT_THAT(text, HasSubstr("tensor parallel 2 x pipeline parallel 2"));
  EXPECT_THAT(text, HasSubstr("6.74e9 parameters"));
  EXPECT_THAT(text, HasSubstr("100 KV blocks = 1600 tokens"));
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(text, HasSubstr("node-" + std::to_string(i) + "/cpu"));
  }
  EXPECT_THAT(text, AllOf(HasSubstr("0-15"), HasSubstr("16-31"),
                          HasSubstr("5504-11007"), HasSubstr("all")));
  // Head, four ranks and the sum are aligned.
  const size_t table = text.find("\n\n") + 2;
  const size_t width = text.find('\n', table) - table;
  EXPECT_EQ(text[table + width], '\n');
  EXPECT_EQ(text[table + 2 * width + 1], '\n');
}

}  // namespace
}  // namespace caravan::partition
