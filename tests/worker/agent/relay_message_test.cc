#include "worker/agent/relay_message.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using std::string_literals::operator""s;

TEST(RelayMessageTest, ArgumentsComeBackAsTheyWere) {
  const absl::StatusOr<std::string> message =
      EncodeArguments({"node-b", "", "a b\n\"c\""});
  CARAVAN_ASSERT_OK(message);
  EXPECT_THAT(DecodeArguments(*message),
              IsOkAndHolds(ElementsAre("node-b", "", "a b\n\"c\"")));
}

TEST(RelayMessageTest, RefusesWhatItCannotCarry) {
  EXPECT_THAT(EncodeArguments({"a\0b"s}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(EncodeArguments({std::string(kMaxRelayMessageBytes, 'a')}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DecodeArguments(""),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DecodeArguments("a\0b"s),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(RelayMessageTest, AnswersKeepCodeAndMessage) {
  EXPECT_THAT(DecodeAnswer(EncodeAnswer(absl::OkStatus())), IsOk());
  EXPECT_THAT(DecodeAnswer(EncodeAnswer(absl::NotFoundError("node: x"))),
              StatusIs(absl::StatusCode::kNotFound, "node: x"));
  for (const char* text : {"", "5", "x:y"}) {
    EXPECT_THAT(DecodeAnswer(text), StatusIs(absl::StatusCode::kInternal));
  }
}

TEST(RelayMessageTest, SocketPathsHaveALimit) {
  EXPECT_THAT(SocketAddress(std::string(107, 'a')), IsOk());
  EXPECT_THAT(SocketAddress(std::string(108, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(SocketAddress(""), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::worker
