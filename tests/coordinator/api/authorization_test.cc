#include "coordinator/api/authorization.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(AuthorizationTest, NoKeysLetEverybodyIn) {
  CARAVAN_EXPECT_OK(Authorization({}).Check(""));
  CARAVAN_EXPECT_OK(Authorization({}).Check("Bearer whatever"));
}

TEST(AuthorizationTest, TakesEachOfItsKeys) {
  const Authorization authorization({"one", "two"});
  CARAVAN_EXPECT_OK(authorization.Check("Bearer one"));
  CARAVAN_EXPECT_OK(authorization.Check("bearer  two "));
}

TEST(AuthorizationTest, RefusesTheRestWithoutRepeatingIt) {
  const Authorization authorization({"one", "two"});
  for (const char* value : {"", "one", "Bearer", "Bearer ", "Bearer on",
                            "Bearer onee", "Basic one", "Bearer one two"}) {
    EXPECT_THAT(
        authorization.Check(value),
        StatusIs(absl::StatusCode::kUnauthenticated, Not(HasSubstr("one"))))
        << value;
  }
}

}  // namespace
}  // namespace caravan::coordinator
