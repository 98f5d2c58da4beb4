#include "coordinator/text/pre_tokenizer.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SplitByPattern Pattern(absl::string_view pattern, bool drops_rest = false) {
  auto regex = Regex::Compile(pattern);
  EXPECT_THAT(regex, testing::IsOk());
  return {.pattern = *std::move(regex), .drops_rest = drops_rest};
}

template <typename... Steps>
std::vector<std::string> Split(absl::string_view text, bool at_start,
                               Steps... steps) {
  std::vector<PreTokenizerStep> list;
  (list.emplace_back(std::move(steps)), ...);
  const PreTokenizer pre_tokenizer(std::move(list));
  const auto split = pre_tokenizer.Split(text, at_start);
  EXPECT_THAT(split, testing::IsOk());
  std::vector<std::string> words;
  for (const absl::string_view word : split->words) words.emplace_back(word);
  return words;
}

TEST(PreTokenizerTest, Gpt2sRule) {
  EXPECT_THAT(Split("It's 2024,  isn't it?\n", true, Pattern(kGpt2Pattern)),
              ElementsAre("It", "'s", " 2024", ",", " ", " isn", "'t", " it",
                          "?", "\n"));
}

TEST(PreTokenizerTest, Llama3sRule) {
  EXPECT_THAT(Split("IT'S 12345\n\n x ==\n", true, Pattern(kLlama3Pattern)),
              ElementsAre("IT", "'S", " ", "123", "45", "\n\n", " x", " ==\n"));
}

TEST(PreTokenizerTest, StepsWorkOnEachOthersWords) {
  EXPECT_THAT(
      Split("a12 b", true, Pattern(kOneDigitPattern), Pattern(kGpt2Pattern)),
      ElementsAre("a", "1", "2", " b"));
  EXPECT_THAT(Split("a1", true, Pattern(kDigitsPattern), AddSpace()),
              ElementsAre(" a", " 1"));
}

TEST(PreTokenizerTest, DropsWhatIsNoMatch) {
  EXPECT_THAT(Split("a1b22", true, Pattern(kDigitsPattern, true)),
              ElementsAre("1", "22"));
}

TEST(PreTokenizerTest, MetaspacePrefixesOnce) {
  const Metaspace always{.prefix = DummyPrefix::kAlways};
  const Metaspace first{.prefix = DummyPrefix::kFirst};
  const Metaspace never{.prefix = DummyPrefix::kNever};
  EXPECT_THAT(Split("a b", false, always), ElementsAre("▁a▁b"));
  EXPECT_THAT(Split(" a", true, always), ElementsAre("▁a"));
  EXPECT_THAT(Split("▁a", true, always), ElementsAre("▁a"));
  EXPECT_THAT(Split("a", true, first), ElementsAre("▁a"));
  EXPECT_THAT(Split("a", false, first), ElementsAre("a"));
  EXPECT_THAT(Split("a b", true, never), ElementsAre("a▁b"));
  EXPECT_THAT(Split("a  b", true, Metaspace{.splits = true}),
              ElementsAre("▁a", "▁", "▁b"));
}

TEST(PreTokenizerTest, NothingIsNoWord) {
  EXPECT_THAT(Split("", true, AddSpace()), IsEmpty());
}

}  // namespace
}  // namespace caravan::coordinator
