#include "coordinator/text/gguf_tokenizer.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/sentencepiece_file.h"
#include "coordinator/text/tokenizer.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/coordinator/text/text_goldens.h"
#include "tests/partition/model/gguf_builder.h"
#include "tests/support/real_model.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using partition::Bytes;
using partition::GgufBuilder;
using partition::GgufFile;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::IsOkAndHolds;
using ::testing::Not;
using testing::StatusIs;
using Json = nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

template <typename T>
std::string Array(uint32_t type, const std::vector<T>& values) {
  std::string bytes = Bytes(type) + Bytes<uint64_t>(values.size());
  for (const T value : values) bytes += Bytes(value);
  return bytes;
}

absl::StatusOr<TokenizerParts> Read(const GgufBuilder& builder) {
  auto file = GgufFile::Parse(partition::MemoryFile("x.gguf", builder.Build()));
  if (!file.ok()) return file.status();
  return ReadGgufTokenizer(**file);
}

// The small tokenizer.json's vocabulary as a GGUF file's.
struct BpeContents {
  std::string pre = "smollm";
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges;
};

BpeContents Contents(const std::string& name) {
  const Json model =
      Json::parse(ReadFileOrDie(GoldenPath(name + "/tokenizer.json")))["model"];
  BpeContents contents;
  contents.tokens.resize(model["vocab"].size());
  for (const auto& [token, id] : model["vocab"].items()) {
    contents.tokens[id.get<size_t>()] = token;
  }
  for (const std::string& token : contents.tokens) {
    contents.types.push_back(token.find("<|") == 0 && token.size() > 4 ? 3 : 1);
  }
  for (const Json& merge : model["merges"]) {
    contents.merges.push_back(absl::StrCat(merge[0].get<std::string>(), " ",
                                           merge[1].get<std::string>()));
  }
  return contents;
}

GgufBuilder Builder(const BpeContents& contents) {
  GgufBuilder builder;
  builder.String("tokenizer.ggml.model", "gpt2")
      .String("tokenizer.ggml.pre", contents.pre)
      .Strings("tokenizer.ggml.tokens", contents.tokens)
      .Key("tokenizer.ggml.token_type", 9, Array(5, contents.types))
      .Strings("tokenizer.ggml.merges", contents.merges)
      .Uint32("tokenizer.ggml.bos_token_id", 1)
      .Uint32("tokenizer.ggml.eos_token_id", 2);
  return builder;
}

TEST(GgufTokenizerTest, SmolLmsPreTokenizerGivesHuggingFacesIds) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto parts, Read(Builder(Contents("gpt2"))));
  const ComposedTokenizer tokenizer(std::move(parts));
  ExpectGoldenIds(tokenizer, "gpt2/ids.json");
  EXPECT_EQ(tokenizer.bos_token(), 1);
  EXPECT_EQ(tokenizer.eos_token(), 2);
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.SpecialToken("<|im_start|>"), 1);
  EXPECT_TRUE(tokenizer.IsSpecial(1));
}

TEST(GgufTokenizerTest, Llama3sPreTokenizerGivesHuggingFacesIds) {
  BpeContents contents = Contents("llama3");
  contents.pre = "llama-bpe";
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto parts, Read(Builder(contents)));
  const ComposedTokenizer tokenizer(std::move(parts));
  ExpectGoldenIds(tokenizer, "llama3/ids.json");
  EXPECT_TRUE(tokenizer.adds_bos());
}

TEST(GgufTokenizerTest, Gpt2sPreTokenizerKeepsDigitsTogether) {
  BpeContents contents = Contents("gpt2");
  contents.tokens.push_back("12");
  contents.types.push_back(1);
  contents.merges.push_back("1 2");
  const int32_t id = static_cast<int32_t>(contents.tokens.size()) - 1;
  contents.pre = "gpt-2";
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto together, Read(Builder(contents)));
  EXPECT_THAT(ComposedTokenizer(std::move(together)).Encode("12"),
              IsOkAndHolds(ElementsAre(id)));
  contents.pre = "smollm";
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto apart, Read(Builder(contents)));
  EXPECT_THAT(ComposedTokenizer(std::move(apart)).Encode("12"),
              IsOkAndHolds(Not(Contains(id))));
}

TEST(GgufTokenizerTest, RefusesOtherKindsByName) {
  BpeContents contents = Contents("gpt2");
  for (const char* pre : {"default", "qwen2", "deepseek-llm", ""}) {
    contents.pre = pre;
    EXPECT_THAT(
        Read(Builder(contents)),
        StatusIs(kUnimplemented, HasSubstr(absl::StrCat("\"", pre, "\""))));
  }
  GgufBuilder bert;
  bert.String("tokenizer.ggml.model", "bert")
      .Strings("tokenizer.ggml.tokens", {"a"});
  EXPECT_THAT(Read(bert), StatusIs(kUnimplemented, HasSubstr("bert")));
  GgufBuilder guessed;
  guessed.String("tokenizer.ggml.model", "gpt2")
      .Strings("tokenizer.ggml.tokens", {"a"})
      .Strings("tokenizer.ggml.merges", {});
  EXPECT_THAT(Read(guessed), StatusIs(kUnimplemented, HasSubstr("pre")));
  EXPECT_THAT(Read(GgufBuilder()), StatusIs(absl::StatusCode::kNotFound));
}

TEST(GgufTokenizerTest, RefusesContradictions) {
  const BpeContents good = Contents("gpt2");
  BpeContents contents = good;
  contents.types.pop_back();
  EXPECT_THAT(Read(Builder(contents)), StatusIs(kInvalid, HasSubstr("types")));
  contents = good;
  contents.types[5] = 7;
  EXPECT_THAT(Read(Builder(contents)), StatusIs(kInvalid, HasSubstr("type 7")));
  contents = good;
  contents.merges[3] = "nospace";
  EXPECT_THAT(Read(Builder(contents)),
              StatusIs(kInvalid, HasSubstr("merge 3")));
  contents = good;
  contents.merges[3] = "Ġqqqq zzzz";
  EXPECT_THAT(Read(Builder(contents)),
              StatusIs(kInvalid, HasSubstr("merge 3")));
  contents = good;
  contents.tokens.clear();
  contents.types.clear();
  EXPECT_THAT(Read(Builder(contents)), StatusIs(kInvalid));
  GgufBuilder far;
  far.String("tokenizer.ggml.model", "llama")
      .Strings("tokenizer.ggml.tokens", {"a"})
      .Key("tokenizer.ggml.scores", 9, Array<float>(6, {0}))
      .Uint32("tokenizer.ggml.bos_token_id", 9);
  EXPECT_THAT(Read(far), StatusIs(kInvalid, HasSubstr("bos_token_id")));
}

TEST(GgufTokenizerTest, TheLlamaKindGivesSentencePiecesIds) {
  const std::string model =
      ReadFileOrDie(GoldenPath("sentencepiece/tokenizer.model"));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const SentencePieceFile file,
                               ReadSentencePieceFile(model));
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (const SentencePiece& piece : file.vocabulary.pieces) {
    tokens.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(static_cast<int32_t>(piece.type));
  }
  GgufBuilder builder;
  builder.String("tokenizer.ggml.model", "llama")
      .Strings("tokenizer.ggml.tokens", tokens)
      .Key("tokenizer.ggml.scores", 9, Array(6, scores))
      .Key("tokenizer.ggml.token_type", 9, Array(5, types))
      .Uint32("tokenizer.ggml.bos_token_id", 1)
      .Uint32("tokenizer.ggml.eos_token_id", 2);
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto parts, Read(builder));
  const ComposedTokenizer tokenizer(std::move(parts));
  ExpectGoldenIds(tokenizer, "sentencepiece/ids.json");
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_TRUE(tokenizer.strips_leading_space());

  builder.Key("tokenizer.ggml.add_space_prefix", 7, std::string(1, '\0'))
      .Key("tokenizer.ggml.add_bos_token", 7, std::string(1, '\0'));
  CARAVAN_ASSERT_OK_AND_ASSIGN(parts, Read(builder));
  EXPECT_FALSE(parts.strips_leading_space);
  EXPECT_FALSE(parts.adds_bos);
}

class RealModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::RealModelFile();
    if (path_.empty()) GTEST_SKIP() << testing::kNoRealModel;
  }
  std::string path_;
};

TEST_F(RealModelTest, SmolLm2GivesHuggingFacesIds) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadTokenizer(path_));
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  ExpectGoldenIds(*tokenizer, "smollm2_ids.json");
}

TEST_F(RealModelTest, SmolLm2sTemplateIsDetectedAndGivesHuggingFacesIds) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadTokenizer(path_));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, DetectChatTemplate(path_));
  EXPECT_EQ(chat->name(), "chatml");
  const std::vector<std::vector<int32_t>> ids =
      GoldenIds("smollm2_chat_ids.json");
  const Json cases = Json::parse(ReadFileOrDie(GoldenPath("chats.json")));
  size_t compared = 0;
  for (const Json& each : cases) {
    if (each.value("template", "") != "smollm2" || compared == ids.size() ||
        !each["add_generation_prompt"].get<bool>()) {
      continue;
    }
    std::vector<ChatMessage> messages;
    for (const Json& message : each["messages"]) {
      messages.push_back({message["role"], message["content"]});
    }
    EXPECT_THAT(EncodeChat(*chat, *tokenizer, messages, true),
                IsOkAndHolds(ElementsAreArray(ids[compared])));
    ++compared;
  }
  EXPECT_EQ(compared, 5u);
}

}  // namespace
}  // namespace caravan::coordinator
