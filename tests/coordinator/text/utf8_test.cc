#include "coordinator/text/utf8.h"

#include <string>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

TEST(Utf8Test, ReadsCharactersOfEachLength) {
  const std::pair<std::string, uint32_t> cases[] = {{std::string(1, '\0'), 0},
                                                    {"a", 'a'},
                                                    {"\x7F", 0x7F},
                                                    {"\u0080", 0x80},
                                                    {"\u07FF", 0x7FF},
                                                    {"\u0800", 0x800},
                                                    {"\uD7FF", 0xD7FF},
                                                    {"\uE000", 0xE000},
                                                    {"\uFFFF", 0xFFFF},
                                                    {"\U00010000", 0x10000},
                                                    {"\U0010FFFF", 0x10FFFF}};
  for (const auto& [text, code_point] : cases) {
    const Utf8Sequence front = FrontUtf8(text + "x");
    EXPECT_EQ(front.kind, Utf8Sequence::Kind::kCharacter);
    EXPECT_EQ(front.length, text.size());
    EXPECT_EQ(front.code_point, code_point);
    CARAVAN_EXPECT_OK(CheckUtf8(text));
    for (size_t size = 1; size < text.size(); ++size) {
      EXPECT_EQ(FrontUtf8(text.substr(0, size)).kind,
                Utf8Sequence::Kind::kIncomplete);
    }
  }
}

TEST(Utf8Test, SaysWhereATextIsNotUtf8) {
  EXPECT_THAT(CheckUtf8("aé\xC3("), StatusIs(absl::StatusCode::kInvalidArgument,
                                             HasSubstr("byte 3")));
  EXPECT_THAT(
      CheckUtf8("\xED\xA0\x80"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("byte 0")));
}

TEST(Utf8Test, TakesWhatIsDecidedAndLeavesTheRest) {
  std::string pending = "a\xFF\xF0\x9F\x98";
  EXPECT_EQ(TakeUtf8(&pending), "a\uFFFD");
  EXPECT_EQ(pending, "\xF0\x9F\x98");
  EXPECT_EQ(TakeUtf8(&pending), "");
  pending += "\x80";
  EXPECT_EQ(TakeUtf8(&pending), "😀");
  EXPECT_EQ(pending, "");
}

TEST(Utf8Test, WhiteSpaceIsUnicodes) {
  for (const uint32_t space :
       {0x09, 0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029,
        0x202F, 0x205F, 0x3000}) {
    EXPECT_TRUE(IsWhiteSpace(space)) << space;
  }
  for (const uint32_t other :
       {0x08, 0x0E, 0x1C, 0x180E, 0x200B, 0x2060, 0xFEFF}) {
    EXPECT_FALSE(IsWhiteSpace(other)) << other;
  }
}

}  // namespace
}  // namespace caravan::coordinator
