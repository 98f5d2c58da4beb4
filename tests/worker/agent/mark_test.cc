#include "worker/agent/mark.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

TEST(MarkTest, ComesBackAsItWas) {
  const Mark mark = {"00ff-12ab",
                     {.replica = 3, .epoch = 18446744073709551615u}};
  EXPECT_EQ(FormatMark(mark), "00ff-12ab/3/18446744073709551615");
  const std::optional<Mark> parsed = ParseMark(FormatMark(mark));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->incarnation, mark.incarnation);
  EXPECT_EQ(parsed->identity(), "00ff");
  EXPECT_EQ(parsed->epoch, mark.epoch);
}

TEST(MarkTest, RefusesWhatIsNoMark) {
  for (const char* text : {"", "a", "a/1", "a/1/2/3", "/1/2", "a/x/2", "a/1/",
                           "a/-1/2", "a/1/18446744073709551616"}) {
    EXPECT_FALSE(ParseMark(text).has_value()) << text;
  }
}

TEST(MarkTest, IsFoundAmongOtherVariables) {
  using std::string_literals::operator""s;
  const std::string environment =
      "XCARAVAN_MARK=b/9/9\0PATH=/bin\0CARAVAN_MARK=a/1/2\0HOME=/\0"s;
  const std::optional<Mark> mark = FindMark(environment);
  ASSERT_TRUE(mark.has_value());
  EXPECT_EQ(mark->epoch, (EpochKey{1, 2}));
  EXPECT_FALSE(FindMark("PATH=/bin\0"s).has_value());
  EXPECT_FALSE(FindMark("").has_value());
}

TEST(MarkTest, ACallerIsNeverFound) {
  for (const MarkedProcess& process :
       FindMarked([](const Mark&) { return true; })) {
    EXPECT_NE(process.pid, getpid());
  }
}

}  // namespace
}  // namespace caravan::worker
