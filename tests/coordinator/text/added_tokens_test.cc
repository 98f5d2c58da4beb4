#include "coordinator/text/added_tokens.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;

// "text" or the token's id, by fragment.
std::vector<std::string> Split(const std::vector<AddedToken>& tokens,
                               const std::string& text,
                               const std::vector<TextRange>& ranges) {
  std::vector<std::string> parts;
  for (const TextFragment& fragment : AddedTokens(tokens).Split(text, ranges)) {
    parts.push_back(fragment.id >= 0 ? std::to_string(fragment.id)
                                     : text.substr(fragment.range.begin,
                                                   fragment.range.end -
                                                       fragment.range.begin));
  }
  return parts;
}

TEST(AddedTokensTest, LeftmostThenLongest) {
  const std::vector<AddedToken> tokens = {{1, "ab"}, {2, "abcd"}, {3, "bc"}};
  EXPECT_THAT(Split(tokens, "xabcx", {}), ElementsAre("x", "1", "cx"));
  EXPECT_THAT(Split(tokens, "abcdbc", {}), ElementsAre("2", "3"));
  EXPECT_THAT(Split(tokens, "", {}), ElementsAre());
  EXPECT_THAT(Split({}, "x", {}), ElementsAre("x"));
  EXPECT_THAT(Split({{1, ""}}, "x", {}), ElementsAre("x"));
}

TEST(AddedTokensTest, TemplateOnlyTokensLieInTemplateText) {
  const std::vector<AddedToken> tokens = {
      {1, "stop", true}, {2, "<x>"}, {3, "[y]"}, {4, "word"}};
  EXPECT_TRUE(IsTemplateOnly(tokens[0]));
  EXPECT_TRUE(IsTemplateOnly(tokens[1]));
  EXPECT_TRUE(IsTemplateOnly(tokens[2]));
  EXPECT_FALSE(IsTemplateOnly(tokens[3]));
  EXPECT_THAT(Split(tokens, "stop<x>[y]word", {}),
              ElementsAre("stop<x>[y]", "4"));
  EXPECT_THAT(Split(tokens, "stop<x>[y]", {{0, 10}}),
              ElementsAre("1", "2", "3"));
  // One byte of it is the user's.
  EXPECT_THAT(Split(tokens, "stop<x>", {{0, 3}, {5, 7}}),
              ElementsAre("stop<x>"));
  EXPECT_THAT(Split(tokens, "<x>stop", {{3, 7}}), ElementsAre("<x>", "1"));
}

TEST(AddedTokensTest, SomeTakeWhiteSpaceAlong) {
  const std::vector<AddedToken> tokens = {
      {1, "<l>", true, /*strips_left=*/true},
      {2, "<r>", true, false, /*strips_right=*/true}};
  const std::string text = "a \u3000<l> b<r>\n\u2003<l>";
  EXPECT_THAT(Split(tokens, text, {{0, text.size()}}),
              ElementsAre("a", "1", " b", "2", "1"));
}

}  // namespace
}  // namespace caravan::coordinator
