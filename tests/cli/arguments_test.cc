#include "cli/arguments.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ExpandShortFlagsTest, WritesShortFlagsOut) {
  EXPECT_THAT(ExpandShortFlags({"plan", "m", "-tp", "4", "-pp=2"}),
              ElementsAre("plan", "m", "--tensor-parallel-size", "4",
                          "--pipeline-parallel-size=2"));
}

TEST(ExpandShortFlagsTest, LeavesTheRest) {
  EXPECT_THAT(ExpandShortFlags({}), IsEmpty());
  EXPECT_THAT(ExpandShortFlags({"-t", "--tp", "-tpx", "tp", "-p", "-"}),
              ElementsAre("-t", "--tp", "-tpx", "tp", "-p", "-"));
  EXPECT_THAT(ExpandShortFlags({"run", "--", "-tp"}),
              ElementsAre("run", "--", "-tp"));
}

}  // namespace
}  // namespace caravan::cli
