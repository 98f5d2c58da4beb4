#include "coordinator/text/composed_tokenizer.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Spellings(const TokenizerParts& parts) {
  std::vector<std::string> spellings;
  for (const AddedToken& token : parts.added_tokens) {
    spellings.push_back(token.spelling);
  }
  return spellings;
}

TEST(AddTokensTest, TheVocabularyGrowsToTheLargestId) {
  TokenizerParts parts;
  parts.token_bytes = {"a"};
  CARAVAN_ASSERT_OK(AddTokens({{.id = 2, .spelling = "<s>"}}, &parts));
  EXPECT_THAT(parts.token_bytes, ElementsAre("a", "", "<s>"));
  EXPECT_THAT(Spellings(parts), ElementsAre("<s>"));
}

TEST(AddTokensTest, AnEqualIdOrSpellingGivesWay) {
  TokenizerParts parts;
  CARAVAN_ASSERT_OK(AddTokens(
      {{.id = 0, .spelling = "<s>"}, {.id = 1, .spelling = "</s>"}}, &parts));
  CARAVAN_ASSERT_OK(AddTokens(
      {{.id = 0, .spelling = "<begin>"}, {.id = 2, .spelling = "</s>"}},
      &parts));
  EXPECT_THAT(Spellings(parts), ElementsAre("<begin>", "</s>"));
  EXPECT_EQ(parts.added_tokens[1].id, 2);
}

TEST(AddTokensTest, ASpellingThatGaveWayIsFree) {
  TokenizerParts parts;
  CARAVAN_ASSERT_OK(AddTokens({{.id = 0, .spelling = "<old>"},
                               {.id = 0, .spelling = "<new>"},
                               {.id = 1, .spelling = "<old>"}},
                              &parts));
  EXPECT_THAT(Spellings(parts), ElementsAre("<new>", "<old>"));
  // And the one that took its place is known.
  CARAVAN_ASSERT_OK(AddTokens({{.id = 2, .spelling = "<new>"}}, &parts));
  EXPECT_THAT(Spellings(parts), ElementsAre("<new>", "<old>"));
  EXPECT_EQ(parts.added_tokens[0].id, 2);
}

TEST(AddTokensTest, IdsThatNoVocabularyHasAreRefused) {
  TokenizerParts parts;
  for (const int32_t id : {-1, kMaxVocabulary}) {
    EXPECT_THAT(AddTokens({{.id = id, .spelling = "<x>"}}, &parts),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(std::to_string(id))));
  }
}

}  // namespace
}  // namespace caravan::coordinator
