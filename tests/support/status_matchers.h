// IsOk, StatusIs and IsOkAndHolds with abseil's names and argument order, for
// absl::Status and absl::StatusOr.
#ifndef CARAVAN_TESTS_SUPPORT_STATUS_MATCHERS_H_
#define CARAVAN_TESTS_SUPPORT_STATUS_MATCHERS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace caravan::testing {

inline const absl::Status& GetStatus(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  if (GetStatus(arg).ok()) return true;
  *result_listener << GetStatus(arg).ToString();
  return false;
}

MATCHER_P2(StatusIsImpl, code, message, "") {
  *result_listener << GetStatus(arg).ToString();
  return ::testing::ExplainMatchResult(code, GetStatus(arg).code(),
                                       result_listener) &&
         ::testing::ExplainMatchResult(
             message, std::string(GetStatus(arg).message()), result_listener);
}

template <typename Code, typename Message>
auto StatusIs(Code code, Message message) {
  return StatusIsImpl(code, message);
}
template <typename Code>
auto StatusIs(Code code) {
  return StatusIsImpl(code, ::testing::_);
}

MATCHER_P(IsOkAndHolds, value, "") {
  if (!arg.ok()) {
    *result_listener << arg.status().ToString();
    return false;
  }
  return ::testing::ExplainMatchResult(value, *arg, result_listener);
}

#define CARAVAN_ASSERT_OK(expression) \
  ASSERT_THAT(expression, ::caravan::testing::IsOk())
#define CARAVAN_EXPECT_OK(expression) \
  EXPECT_THAT(expression, ::caravan::testing::IsOk())

// CARAVAN_ASSERT_OK_AND_ASSIGN(auto value, Function());
#define CARAVAN_ASSERT_OK_AND_ASSIGN(left, expression) \
  CARAVAN_ASSERT_OK_AND_ASSIGN_IMPL_(                  \
      CARAVAN_TEST_CONCAT_(caravan_result_, __LINE__), left, expression)
#define CARAVAN_ASSERT_OK_AND_ASSIGN_IMPL_(result, left, expression) \
  auto result = (expression);                                        \
  ASSERT_THAT(result, ::caravan::testing::IsOk());                   \
  left = *std::move(result)
#define CARAVAN_TEST_CONCAT_(a, b) CARAVAN_TEST_CONCAT_INNER_(a, b)
#define CARAVAN_TEST_CONCAT_INNER_(a, b) a##b

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_STATUS_MATCHERS_H_
