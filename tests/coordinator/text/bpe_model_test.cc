#include "coordinator/text/bpe_model.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StatusIs;

std::vector<int32_t> Encode(BpeModel::Options options,
                            const std::string& word) {
  const auto model = BpeModel::Create(std::move(options));
  EXPECT_THAT(model, testing::IsOk());
  std::vector<int32_t> ids;
  if (model.ok()) model->Encode(word, &ids);
  return ids;
}

TEST(BpeModelTest, TheLeastRankIsMergedFirst) {
  const BpeModel::Options options{
      .vocabulary =
          {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}},
      .merges = {{"b", "c"}, {"a", "b"}, {"ab", "c"}}};
  EXPECT_THAT(Encode(options, "abc"), ElementsAre(0, 4));
  EXPECT_THAT(Encode(options, "abab"), ElementsAre(3, 3));
  EXPECT_THAT(Encode(options, ""), IsEmpty());
}

TEST(BpeModelTest, EqualPairsAreMergedFromTheLeft) {
  const BpeModel::Options options{.vocabulary = {{"a", 0}, {"aa", 1}},
                                  .merges = {{"a", "a"}}};
  EXPECT_THAT(Encode(options, "aaaaa"), ElementsAre(1, 1, 0));
}

TEST(BpeModelTest, IgnoringMergesAWholeTokenIsItself) {
  BpeModel::Options options{.vocabulary = {{"a", 0},
                                           {"b", 1},
                                           {"ab", 2},
                                           {"<x>", 3},
                                           {"<", 4},
                                           {"x", 5},
                                           {">", 6}},
                            .control_ids = {3}};
  EXPECT_THAT(Encode(options, "ab"), ElementsAre(0, 1));
  options.ignore_merges = true;
  EXPECT_THAT(Encode(options, "ab"), ElementsAre(2));
  EXPECT_THAT(Encode(options, "<x>"), ElementsAre(4, 5, 6));
}

TEST(BpeModelTest, NoMergeLeadsToAControlToken) {
  const BpeModel::Options options{
      .vocabulary = {{"<", 0}, {"s", 1}, {">", 2}, {"s>", 3}, {"<s>", 4}},
      .merges = {{"s", ">"}, {"<", "s>"}},
      .control_ids = {4}};
  EXPECT_THAT(Encode(options, "<s>"), ElementsAre(0, 3));
}

TEST(BpeModelTest, UnknownCharacters) {
  BpeModel::Options options{.vocabulary = {{"a", 0}, {"?", 1}}};
  EXPECT_THAT(Encode(options, "aééa"), ElementsAre(0, 0));
  options.unknown_id = 1;
  EXPECT_THAT(Encode(options, "aééa"), ElementsAre(0, 1, 1, 0));
  options.fuse_unknown = true;
  EXPECT_THAT(Encode(options, "aééa"), ElementsAre(0, 1, 0));
  options.byte_fallback = true;  // but no bytes in the vocabulary
  EXPECT_THAT(Encode(options, "aé"), ElementsAre(0, 1));
  for (int byte = 0; byte < 256; ++byte) {
    options.vocabulary[absl::StrFormat("<0x%02X>", byte)] = 10 + byte;
  }
  EXPECT_THAT(Encode(options, "aé"), ElementsAre(0, 10 + 0xC3, 10 + 0xA9));
}

TEST(BpeModelTest, RefusesMergesOfStrangers) {
  for (const std::pair<std::string, std::string>& merge :
       std::vector<std::pair<std::string, std::string>>{
           {"a", "x"}, {"x", "a"}, {"a", "a"}}) {
    EXPECT_THAT(
        BpeModel::Create({.vocabulary = {{"a", 0}}, .merges = {merge}}),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("merge 0")));
  }
}

}  // namespace
}  // namespace caravan::coordinator
