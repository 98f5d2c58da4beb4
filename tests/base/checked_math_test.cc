#include "base/checked_math.h"

#include <limits>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(CheckedMathTest, AddsAndMultiplies) {
  EXPECT_THAT(CheckedAdd(kMax - 1, 1), IsOkAndHolds(kMax));
  EXPECT_THAT(CheckedMultiply(1 << 20, 1 << 20),
              IsOkAndHolds(int64_t{1} << 40));
  EXPECT_THAT(CheckedProduct({2, 3, 7}), IsOkAndHolds(42));
}

TEST(CheckedMathTest, RefusesOverflowAndNegatives) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(CheckedAdd(kMax, 1), StatusIs(invalid));
  EXPECT_THAT(CheckedAdd(-1, 1), StatusIs(invalid));
  EXPECT_THAT(CheckedMultiply(kMax / 2, 3), StatusIs(invalid));
  EXPECT_THAT(CheckedMultiply(-1, -1), StatusIs(invalid));
  EXPECT_THAT(CheckedProduct({1 << 30, 1 << 30, 1 << 30}), StatusIs(invalid));
}

}  // namespace
}  // namespace caravan
