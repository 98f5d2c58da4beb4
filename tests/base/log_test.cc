#include "base/log.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"

namespace caravan {
namespace {

TEST(LogTest, ItsLinesCanBeTakenApart) {
  InitializeLog("engine r0 e3 rank 2", LogLevel::kWarning);
  ::testing::internal::CaptureStderr();
  LogInfo("not written");
  LogWarning("a [b]\nc");
  const std::string written = ::testing::internal::GetCapturedStderr();
  absl::string_view line = written;
  ASSERT_TRUE(absl::ConsumeSuffix(&line, "\n"));
  const std::optional<LogEntry> entry = ParseLogLine(line);
  ASSERT_TRUE(entry.has_value()) << written;
  EXPECT_EQ(entry->level, LogLevel::kWarning);
  EXPECT_EQ(entry->text, "[engine r0 e3 rank 2] a [b]\\nc");
}

TEST(LogTest, KnowsEveryLevel) {
  const auto level = [](absl::string_view letter) {
    return ParseLogLine(
               absl::StrCat("2026-11-24T12:34:54.277 ", letter, " [agent a] x"))
        ->level;
  };
  EXPECT_EQ(level("D"), LogLevel::kDebug);
  EXPECT_EQ(level("I"), LogLevel::kInfo);
  EXPECT_EQ(level("W"), LogLevel::kWarning);
  EXPECT_EQ(level("E"), LogLevel::kError);
}

TEST(LogTest, OtherLinesAreNone) {
  for (const char* line :
       {"", "Segmentation fault", "2026-11-24T12:34:54.277 I [",
        "2026-11-24T12:34:54.277 X [agent a] x",
        "2026-11-24 12:34:54.277 I [agent a] x",
        "2026-11-24T12:34:54,277 I [agent a] x",
        "2026-11-24T12:34:54.277 I agent a] x",
        "[1,0]<stderr>:2026-11-24T12:34:54.277 I [agent a] x"}) {
    EXPECT_FALSE(ParseLogLine(line).has_value()) << line;
  }
}

}  // namespace
}  // namespace caravan
