#include "partition/model/gguf_cursor.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/partition/model/gguf_builder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

TEST(GgufCursorTest, ReadsFrontToBack) {
  const auto file = MemoryFile(
      "f", Bytes<uint16_t>(7) + GgufString("abc") + Bytes<float>(0.5f));
  GgufCursor cursor(*file, 100);
  EXPECT_THAT(cursor.Number<uint16_t>(), IsOkAndHolds(7));
  EXPECT_THAT(cursor.String(3), IsOkAndHolds("abc"));
  EXPECT_EQ(cursor.position(), 13);
  EXPECT_EQ(cursor.remaining(), 4);
  EXPECT_THAT(cursor.Number<float>(), IsOkAndHolds(0.5f));
  EXPECT_THAT(cursor.Number<uint8_t>(),
              StatusIs(Code::kDataLoss, HasSubstr("at byte 17 of 17")));
}

// Strings that lie across the ends of the cursor's buffer.
TEST(GgufCursorTest, ReadsFilesLongerThanItsBuffer) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) {
    bytes += GgufString(std::string(7001, static_cast<char>('a' + i % 26)));
  }
  const auto file = MemoryFile("f", bytes);
  GgufCursor cursor(*file, 1 << 20);
  for (int i = 0; i < 100; ++i) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string text, cursor.String(7001));
    EXPECT_EQ(text, std::string(7001, static_cast<char>('a' + i % 26)));
  }
  EXPECT_EQ(cursor.remaining(), 0);
}

TEST(GgufCursorTest, ChecksLengthsBeforeItAllocates) {
  for (uint64_t length : {uint64_t{5}, uint64_t{1} << 62, ~uint64_t{0}}) {
    const auto file = MemoryFile("f", Bytes(length) + "abcd");
    GgufCursor cursor(*file, 100);
    EXPECT_THAT(cursor.String(1 << 20), StatusIs(Code::kDataLoss));
  }
  const auto file = MemoryFile("f", GgufString("abcd"));
  GgufCursor strict(*file, 100);
  EXPECT_THAT(strict.String(3),
              StatusIs(Code::kInvalidArgument, HasSubstr("at most 3")));
  GgufCursor bounded(*file, 11);
  EXPECT_THAT(bounded.String(4),
              StatusIs(Code::kInvalidArgument, HasSubstr("over 11 bytes")));
}

TEST(GgufCursorTest, CountsMustBeBackedByTheFile) {
  const auto file = MemoryFile("f", Bytes<uint64_t>(3) + std::string(24, 'x'));
  EXPECT_THAT(GgufCursor(*file, 100).Count(8), IsOkAndHolds(3));
  EXPECT_THAT(GgufCursor(*file, 100).Count(9),
              StatusIs(Code::kDataLoss, HasSubstr("a count of 3")));
}

}  // namespace
}  // namespace caravan::partition
