#include "cli/timed_completion.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::ApiServerTest;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

class TimedCompletionTest : public ApiServerTest {
 protected:
  absl::StatusOr<TokenTimes> Time(const TimedCompletionRequest& request) {
    HttpClient::Options options;
    options.server = {"127.0.0.1", absl::StrCat(port()), ""};
    return TimeCompletion(HttpClient(options), request);
  }
};

TEST_F(TimedCompletionTest, HasATimeForEveryToken) {
  StartServer();
  CARAVAN_ASSERT_OK_AND_ASSIGN(const TokenTimes times,
                               Time({.prompt = {5, 6, 7}, .num_tokens = 40}));
  EXPECT_EQ(times.tokens.size(), 40u);
  EXPECT_TRUE(std::is_sorted(times.tokens.begin(), times.tokens.end()));
  EXPECT_LT(times.sent, times.tokens.front());
}

TEST_F(TimedCompletionTest, SaysWhatTheServerSays) {
  StartServer();
  EXPECT_THAT(Time({.prompt = {5}, .num_tokens = 100000}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("maximum context length")));
  EXPECT_THAT(Time({.model = "another", .prompt = {5}}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("another")));
  backend_.EndEpoch(absl::UnavailableError("engine 3 exited"));
  EXPECT_THAT(Time({.prompt = {5}}), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace caravan::cli
