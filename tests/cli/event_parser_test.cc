#include "cli/event_parser.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;

class EventParserTest : public ::testing::Test {
 protected:
  absl::Status Add(absl::string_view bytes) {
    return parser_.Add(bytes, [this](absl::string_view data) {
      events_.emplace_back(data);
      return absl::OkStatus();
    });
  }
  EventParser parser_{64};
  std::vector<std::string> events_;
};

TEST_F(EventParserTest, CutsEventsWhereverTheBytesAreCut) {
  const std::string bytes =
      "data: one\n\n: comment\nevent: x\ndata:two\r\n\r\n\n"
      "data: a\ndata: b\n\ndata: [DONE]\n\n";
  for (size_t size = 1; size <= bytes.size(); ++size) {
    events_.clear();
    for (size_t i = 0; i < bytes.size(); i += size) {
      CARAVAN_ASSERT_OK(Add(bytes.substr(i, size)));
    }
    EXPECT_THAT(events_, ElementsAre("one", "two", "a\nb", "[DONE]")) << size;
  }
}

TEST_F(EventParserTest, BoundsAnEvent) {
  EXPECT_THAT(Add("data: " + std::string(100, 'a')),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(EventParserTest, PassesTheReadersError) {
  EXPECT_THAT(parser_.Add("data: a\n\n",
                          [](absl::string_view) {
                            return absl::CancelledError("enough");
                          }),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace caravan::cli
