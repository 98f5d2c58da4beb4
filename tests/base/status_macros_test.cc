#include "base/status_macros.h"

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return value / 2;
}

absl::StatusOr<int> Quarter(int value) {
  CARAVAN_ASSIGN_OR_RETURN(int half, Half(value));
  CARAVAN_RETURN_IF_ERROR(Half(half).status());
  return half / 2;
}

TEST(StatusMacrosTest, PassValuesAndErrorsOn) {
  EXPECT_THAT(Quarter(8), IsOkAndHolds(2));
  EXPECT_THAT(Quarter(7), StatusIs(absl::StatusCode::kInvalidArgument, "odd"));
  EXPECT_THAT(Quarter(6), StatusIs(absl::StatusCode::kInvalidArgument, "odd"));
}

TEST(StatusMacrosTest, AnnotateKeepsTheCode) {
  EXPECT_THAT(Annotate(absl::DataLossError("short"), "loading x"),
              StatusIs(absl::StatusCode::kDataLoss, "loading x: short"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "loading x").ok());
}

}  // namespace
}  // namespace caravan
