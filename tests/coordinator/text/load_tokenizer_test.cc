#include <string>

#include "coordinator/text/tokenizer.h"
#include "gmock/gmock.h"
#include "tests/coordinator/text/text_goldens.h"
#include "tests/partition/model/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using partition::TemporaryFolder;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Not;
using testing::StatusIs;

class LoadTokenizerTest : public ::testing::Test {
 protected:
  void UseSentencePiece() {
    folder_.Write("tokenizer.model",
                  ReadFileOrDie(GoldenPath("sentencepiece/tokenizer.model")));
  }
  void UseJson(const std::string& name) {
    folder_.Write("tokenizer.json",
                  ReadFileOrDie(GoldenPath(name + "/tokenizer.json")));
  }

  TemporaryFolder folder_;
};

TEST_F(LoadTokenizerTest, AFolderWithoutOneIsNotFound) {
  EXPECT_THAT(LoadTokenizer(folder_.path()),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("tokenizer.json"),
                             HasSubstr("tokenizer.model"))));
}

TEST_F(LoadTokenizerTest, WhatIsNoGgufFileIsRefused) {
  EXPECT_FALSE(LoadTokenizer(folder_.Path("none")).ok());
  EXPECT_FALSE(LoadTokenizer(folder_.Write("a.gguf", "GGUFx")).ok());
}

TEST_F(LoadTokenizerTest, ErrorsNameTheFile) {
  folder_.Write("tokenizer.json", "{");
  EXPECT_THAT(LoadTokenizer(folder_.path()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(folder_.Path("tokenizer.json"))));
}

TEST_F(LoadTokenizerTest, ABadTokenizerJsonIsNotPassedOver) {
  UseSentencePiece();
  folder_.Write("tokenizer.json", R"({"model": {"type": "WordPiece"}})");
  EXPECT_THAT(LoadTokenizer(folder_.path()),
              StatusIs(absl::StatusCode::kUnimplemented));
}

// Alpaca's: a padding token beyond Llama's vocabulary.
TEST_F(LoadTokenizerTest, AddedTokensOfFineTunesAreControlTokens) {
  UseSentencePiece();
  folder_.Write("added_tokens.json", R"({"[PAD]": 900})");
  folder_.Write("special_tokens_map.json",
                R"({"bos_token": "</s>", "eos_token": {"content": "</s>"},
                    "pad_token": "[PAD]", "unk_token": "</s>"})");
  folder_.Write("tokenizer_config.json",
                R"({"bos_token": "", "eos_token": "", "unk_token": ""})");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                               LoadTokenizer(folder_.path()));
  EXPECT_EQ(tokenizer->vocab_size(), 901);
  EXPECT_EQ(tokenizer->SpecialToken("[PAD]"), 900);
  EXPECT_TRUE(tokenizer->IsSpecial(900));
  EXPECT_EQ(tokenizer->bos_token(), 2);
  EXPECT_EQ(tokenizer->eos_token(), 2);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->Encode("[PAD]"));
  EXPECT_THAT(ids, Not(Contains(900)));
  EXPECT_THAT(tokenizer->EncodePieces({{"[PAD]", true}}),
              IsOkAndHolds(ElementsAre(900)));
}

TEST_F(LoadTokenizerTest, AddedTokensDecoderCounts) {
  UseSentencePiece();
  folder_.Write("tokenizer_config.json", R"({
    "add_bos_token": false, "eos_token": "<|im_end|>",
    "added_tokens_decoder": {
      "1": {"content": "<s>", "special": true},
      "900": {"content": "<|im_end|>", "special": true, "rstrip": true},
      "901": {"content": "<|im_start|>", "special": false}}})");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                               LoadTokenizer(folder_.path()));
  EXPECT_EQ(tokenizer->vocab_size(), 902);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->eos_token(), 900);
  EXPECT_FALSE(tokenizer->IsSpecial(901));
  EXPECT_EQ(tokenizer->SpecialToken("<|im_start|>"), 901);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto ids,
      tokenizer->EncodePieces({{"<|im_end|> \n<|im_start|>", true}}));
  EXPECT_THAT(ids, ElementsAre(900, 901));
}

TEST_F(LoadTokenizerTest, NotLegacyMeansOnePrefix) {
  UseSentencePiece();
  folder_.Write("tokenizer_config.json", R"({"legacy": true})");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto legacy,
                               LoadTokenizer(folder_.path()));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto with, legacy->Encode("ka"));
  EXPECT_THAT(legacy->EncodePieces({{"<s>", true}, {"ka", false}}),
              IsOkAndHolds(::testing::SizeIs(1 + with.size())));
  folder_.Write("tokenizer_config.json", R"({"legacy": false})");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto newer, LoadTokenizer(folder_.path()));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto ids, newer->EncodePieces({{"<s>", true}, {"ka", false}}));
  EXPECT_EQ(newer->TokenBytes(ids[1]).substr(0, 1), "k");
  EXPECT_THAT(newer->Encode("ka"), IsOkAndHolds(with));
}

TEST_F(LoadTokenizerTest, LlamaClassesDecideAboutBosThemselves) {
  UseJson("llama2");
  folder_.Write("tokenizer_config.json",
                R"({"tokenizer_class": "LlamaTokenizerFast",
                    "add_bos_token": false, "bos_token": "<s>",
                    "eos_token": "</s>"})");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                               LoadTokenizer(folder_.path()));
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->bos_token(), 1);
  EXPECT_EQ(tokenizer->eos_token(), 2);
}

TEST_F(LoadTokenizerTest, MalformedConfigsAreRefusedByField) {
  UseSentencePiece();
  const std::pair<const char*, const char*> cases[] = {
      {R"({"add_bos_token": "yes"})", "add_bos_token"},
      {R"({"legacy": 1})", "legacy"},
      {R"({"added_tokens_decoder": []})", "added_tokens_decoder"},
      {R"({"added_tokens_decoder": {"x": {"content": "y"}}})", "\"x\""},
      {R"({"added_tokens_decoder": {"-1": {"content": "y"}}})", "\"-1\""},
      {R"({"added_tokens_decoder": {"99999999": {"content": "y"}}})",
       "99999999"},
      {R"({"added_tokens_decoder": {"5": "y"}})", "\"5\""},
      {"[]", "tokenizer_config.json"},
      {"\xEF\xBB\xBF{", "tokenizer_config.json"},
  };
  for (const auto& [text, field] : cases) {
    folder_.Write("tokenizer_config.json", text);
    EXPECT_THAT(LoadTokenizer(folder_.path()),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
  folder_.Write("tokenizer_config.json", "{}");
  folder_.Write("added_tokens.json", R"({"[PAD]": -3})");
  EXPECT_THAT(LoadTokenizer(folder_.path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[PAD]")));
}

}  // namespace
}  // namespace caravan::coordinator
