#include "worker/agent/last_words.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

using ::testing::ElementsAre;

TEST(LastWordsTest, CutsIntoLinesWhereverTheReadsEnd) {
  std::vector<std::string> seen;
  LastWords words([&](absl::string_view line) { seen.emplace_back(line); });
  words.Append("one\ntw");
  words.Append("o\n\nthr");
  EXPECT_THAT(seen, ElementsAre("one", "two", ""));
  EXPECT_EQ(words.Text(), "one\ntwo\n\n");
  words.Append("ee");
  words.Finish();
  EXPECT_EQ(words.Text(), "one\ntwo\n\nthree\n");
}

TEST(LastWordsTest, KeepsTheLastTwentyLines) {
  LastWords words(nullptr);
  for (int i = 0; i < 100; ++i) words.Append(absl::StrCat("line ", i, "\n"));
  const std::string text = words.Text();
  EXPECT_TRUE(absl::string_view(text).substr(0, 8) == "line 80\n") << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20);
}

TEST(LastWordsTest, CutsLinesThatAreTooLong) {
  LastWords words(nullptr);
  for (int i = 0; i < 100; ++i) words.Append(std::string(1000, 'x'));
  words.Append("\nnext\n");
  EXPECT_EQ(words.Text(), std::string(512, 'x') + "\nnext\n");
}

}  // namespace
}  // namespace caravan::worker
