#include "coordinator/text/regex.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StatusIs;

std::vector<std::string> Find(const std::string& pattern,
                              const std::string& text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_THAT(regex, testing::IsOk());
  if (!regex.ok()) return {};
  const auto matches = RegexMatcher(*regex).FindAll(text);
  EXPECT_THAT(matches, testing::IsOk());
  std::vector<std::string> found;
  for (const auto& [begin, end] : matches.value_or(std::vector<TextRange>())) {
    found.push_back(text.substr(begin, end - begin));
  }
  return found;
}

TEST(RegexTest, ClassesAreUnicodes) {
  EXPECT_THAT(Find(R"(\p{L}+)", "aé1中 х"), ElementsAre("aé", "中", "х"));
  EXPECT_THAT(Find(R"(\p{N})", "1٣½"), ElementsAre("1", "٣", "½"));
}

TEST(RegexTest, WhiteSpaceIsWithoutTheMongolianVowelSeparator) {
  EXPECT_THAT(Find(R"(\s+)", "a \u2003b\u180Ec\u3000"),
              ElementsAre(" \u2003", "\u3000"));
  EXPECT_THAT(Find(R"([^\sx]+)", "ab\u180Ex c"), ElementsAre("ab\u180E", "c"));
  EXPECT_THAT(Find(R"(\S+)", "ab\u180E c"), ElementsAre("ab\u180E", "c"));
}

TEST(RegexTest, EmptyMatchesAreLeftOut) {
  EXPECT_THAT(Find("x*", "abxxc"), ElementsAre("xx"));
  EXPECT_THAT(Find("x*", ""), IsEmpty());
}

TEST(RegexTest, RefusesWhatIsNoPattern) {
  for (const char* pattern :
       {"(", "a{2,1}", "*", "\\p{Nope}", "(?<n>a)(?<n>b)"}) {
    EXPECT_THAT(Regex::Compile(pattern),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << pattern;
  }
  EXPECT_THAT(Regex::Compile(std::string(1 << 20, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("limit")));
  EXPECT_THAT(Regex::Compile(std::string(5000, '(')),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(RegexTest, APatternThatRunsAwayIsStopped) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Regex regex,
                               Regex::Compile("(a|aa|aaa)+b"));
  EXPECT_THAT(RegexMatcher(regex).FindAll(std::string(100, 'a') + "cb"),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace caravan::coordinator
