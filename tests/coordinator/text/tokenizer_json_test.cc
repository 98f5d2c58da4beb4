#include "coordinator/text/tokenizer_json.h"

#include <random>
#include <string>

#include "absl/strings/str_replace.h"
#include "coordinator/text/detokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/coordinator/text/text_goldens.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::IsOkAndHolds;
using testing::StatusIs;
using Json = nlohmann::json;

std::unique_ptr<Tokenizer> Load(const std::string& name) {
  auto tokenizer = LoadTokenizer(GoldenPath(name));
  EXPECT_THAT(tokenizer, IsOk());
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

void ExpectRoundTrip(const Tokenizer& tokenizer) {
  for (std::string text : GoldenStrings()) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer.Encode(text));
    if (tokenizer.strips_leading_space()) {
      // That is how such a vocabulary writes a space.
      text = absl::StrReplaceAll(text, {{"\u2581", " "}});
    }
    EXPECT_EQ(Decode(tokenizer, ids), text);
  }
}

TEST(TokenizerJsonTest, DigitsAndByteLevelGiveHuggingFacesIds) {
  const auto tokenizer = Load("gpt2");
  ASSERT_NE(tokenizer, nullptr);
  ExpectGoldenIds(*tokenizer, "gpt2/ids.json");
  ExpectRoundTrip(*tokenizer);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_FALSE(tokenizer->strips_leading_space());
}

TEST(TokenizerJsonTest, Llama3sPatternGivesHuggingFacesIds) {
  const auto tokenizer = Load("llama3");
  ASSERT_NE(tokenizer, nullptr);
  ExpectGoldenIds(*tokenizer, "llama3/ids.json");
  ExpectRoundTrip(*tokenizer);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->bos_token(), 0);
}

TEST(TokenizerJsonTest, Llama2sKindGivesHuggingFacesIds) {
  const auto tokenizer = Load("llama2");
  ASSERT_NE(tokenizer, nullptr);
  ExpectGoldenIds(*tokenizer, "sentencepiece/ids.json");
  ExpectRoundTrip(*tokenizer);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->bos_token(), 1);
  EXPECT_TRUE(tokenizer->strips_leading_space());
}

TEST(TokenizerJsonTest, TextNeverBecomesAControlToken) {
  for (const std::string name : {"gpt2", "llama3", "llama2"}) {
    const auto tokenizer = Load(name);
    ASSERT_NE(tokenizer, nullptr);
    for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
      if (!tokenizer->IsSpecial(id)) continue;
      const std::string spelling = tokenizer->TokenBytes(id);
      CARAVAN_ASSERT_OK_AND_ASSIGN(
          const auto ids, tokenizer->Encode("a " + spelling + spelling + "b"));
      for (const int32_t each : ids) {
        EXPECT_FALSE(tokenizer->IsSpecial(each)) << name << ": " << spelling;
      }
      EXPECT_EQ(Decode(*tokenizer, ids), "a " + spelling + spelling + "b");
    }
  }
}

TEST(TokenizerJsonTest, PiecesFindControlTokensInTemplateTextOnly) {
  const auto tokenizer = Load("gpt2");
  ASSERT_NE(tokenizer, nullptr);
  const int32_t start = tokenizer->SpecialToken("<|im_start|>");
  ASSERT_GE(start, 0);
  const auto count = [&](const std::vector<ChatPiece>& pieces) {
    const auto ids = tokenizer->EncodePieces(pieces);
    EXPECT_THAT(ids, IsOk());
    return std::count(ids->begin(), ids->end(), start);
  };
  EXPECT_EQ(count({{"<|im_start|>", true}, {"<|im_start|>", false}}), 1);
  // Two template pieces side by side are one text; one cut by a user's is not.
  EXPECT_EQ(count({{"<|im_", true}, {"start|>", true}}), 1);
  EXPECT_EQ(count({{"<|im_", true}, {"start|>", false}}), 0);
  EXPECT_EQ(count({{"<|im_", false}, {"start|>", true}}), 0);
  EXPECT_EQ(count({{"<|im_", true}, {"x", false}, {"start|>", true}}), 0);
  EXPECT_EQ(count({{"<|im_", true}, {"", false}, {"start|>", true}}), 1);
}

TEST(TokenizerJsonTest, PiecesAreOneTextToTheMerges) {
  const auto tokenizer = Load("gpt2");
  ASSERT_NE(tokenizer, nullptr);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto whole, tokenizer->Encode("the of"));
  EXPECT_THAT(
      tokenizer->EncodePieces({{"th", true}, {"e o", false}, {"f", true}}),
      IsOkAndHolds(whole));
}

TEST(TokenizerJsonTest, RefusesTextThatIsNotUtf8) {
  const auto tokenizer = Load("gpt2");
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string text :
       {"ab\xFF", "\x80", "\xC3", "\xE2\x82", "\xED\xA0\x80", "\xC0\x80",
        "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80"}) {
    EXPECT_THAT(
        tokenizer->Encode(text),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not UTF-8")));
  }
}

TEST(TokenizerJsonTest, IdsOutsideTheVocabularyAreEmpty) {
  const auto tokenizer = Load("gpt2");
  ASSERT_NE(tokenizer, nullptr);
  for (const int32_t id : {-1, tokenizer->vocab_size(), INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
    EXPECT_FALSE(tokenizer->IsSpecial(id));
  }
}

class LongTextTest : public ::testing::TestWithParam<const char*> {};

// One word of a million characters takes n log n merges; n squared would take
// hours and run into the test's time limit.
TEST_P(LongTextTest, RunsAreEncodedInReasonableTime) {
  const auto tokenizer = Load(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string unit : {"a", " ", "\n", "7", "<", "😀", "ka"}) {
    std::string text;
    while (text.size() < 1 << 20) text += unit;
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->Encode(text));
    EXPECT_EQ(Decode(*tokenizer, ids), text) << unit;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, LongTextTest,
                         ::testing::Values("gpt2", "llama3", "llama2"));

class ChangedJsonTest : public ::testing::Test {
 protected:
  static Json File(const std::string& name) {
    return Json::parse(ReadFileOrDie(GoldenPath(name + "/tokenizer.json")));
  }
};

TEST_F(ChangedJsonTest, MergesMayBeStrings) {
  Json file = File("gpt2");
  for (Json& merge : file["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto parts, ReadTokenizerJson(file.dump()));
  ExpectGoldenIds(ComposedTokenizer(std::move(parts)), "gpt2/ids.json");
}

TEST_F(ChangedJsonTest, OlderFilesLeaveTheTypeOut) {
  Json file = File("gpt2");
  file["model"].erase("type");
  EXPECT_THAT(ReadTokenizerJson(file.dump()), IsOk());
}

struct Refusal {
  const char* path;   // JSON pointer of what is changed
  const char* value;  // to this
  absl::StatusCode code;
  const char* message;
};

TEST_F(ChangedJsonTest, RefusesByNameWhatWouldGiveOtherIds) {
  constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const Refusal refusals[] = {
      {"/model/type", R"("WordPiece")", kUnimplemented, "WordPiece"},
      {"/model/type", R"("Unigram")", kUnimplemented, "Unigram"},
      {"/model/dropout", "0.1", kUnimplemented, "dropout"},
      {"/model/end_of_word_suffix", R"("</w>")", kUnimplemented,
       "end_of_word_suffix"},
      {"/model/continuing_subword_prefix", R"("##")", kUnimplemented,
       "continuing_subword_prefix"},
      {"/model/byte_fallback", "true", kUnimplemented, "byte_fallback"},
      {"/model/vocab", "{}", kInvalid, "vocab"},
      {"/model/vocab/a", "-1", kInvalid, "-1"},
      {"/model/vocab/a", "99999999999", kInvalid, "99999999999"},
      {"/model/vocab/a", R"("1")", kInvalid, "token id"},
      {"/model/merges", "{}", kInvalid, "merges"},
      {"/model/merges/0", R"(["q","@@"])", kInvalid, "merge 0"},
      {"/model/merges/0", R"("a b c")", kInvalid, "merge 0"},
      {"/model/merges/0", "7", kInvalid, "merge 0"},
      {"/normalizer", R"({"type":"NFC"})", kUnimplemented, "NFC"},
      {"/normalizer", R"({"type":"Lowercase"})", kUnimplemented, "Lowercase"},
      {"/normalizer", R"({"type":"Prepend","prepend":"x"})", kUnimplemented,
       "Prepend"},
      {"/pre_tokenizer", R"({"type":"Whitespace"})", kUnimplemented,
       "Whitespace"},
      {"/pre_tokenizer", "null", kUnimplemented, "neither byte-level"},
      {"/pre_tokenizer/pretokenizers/0",
       R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"Contiguous"})",
       kUnimplemented, "Contiguous"},
      {"/pre_tokenizer/pretokenizers/0",
       R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})",
       kInvalid, "does not compile"},
      {"/pre_tokenizer/pretokenizers/0",
       R"({"type":"Split","pattern":{"Regex":"\\w+"},"behavior":"Isolated"})",
       kUnimplemented, "\\w"},
      {"/post_processor", R"({"type":"RobertaProcessing"})", kUnimplemented,
       "RobertaProcessing"},
      {"/post_processor",
       R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],)"
       R"("special_tokens":{"x":{"ids":[5000]}}})",
       kInvalid, "5000"},
      {"/added_tokens/0/single_word", "true", kUnimplemented, "single_word"},
      {"/added_tokens/0/id", "2000000000", kInvalid, "2000000000"},
      {"/added_tokens", "3", kInvalid, "added_tokens"},
  };
  for (const Refusal& refusal : refusals) {
    Json file = File("gpt2");
    file[Json::json_pointer(refusal.path)] = Json::parse(refusal.value);
    EXPECT_THAT(ReadTokenizerJson(file.dump()),
                StatusIs(refusal.code, HasSubstr(refusal.message)))
        << refusal.path << " = " << refusal.value;
  }
}

TEST_F(ChangedJsonTest, RefusesWhatIsNoTokenizer) {
  const std::string whole = ReadFileOrDie(GoldenPath("gpt2/tokenizer.json"));
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[]"),
        std::string("\xFF"), std::string(100000, '['), whole + "x",
        whole.substr(0, whole.size() / 2)}) {
    EXPECT_FALSE(ReadTokenizerJson(text).ok()) << text.substr(0, 40);
  }
}

// Whatever a file says: a status or a tokenizer that works, and no crash.
TEST_F(ChangedJsonTest, BrokenFilesAreHarmless) {
  const std::string whole = ReadFileOrDie(GoldenPath("llama3/tokenizer.json"));
  std::mt19937 random(13);
  for (int round = 0; round < 150; ++round) {
    std::string text = whole;
    // Near the front stand the steps, behind it the vocabulary.
    const size_t reach = round % 2 == 0 ? 2000 : text.size();
    for (int i = 0; i < 1 + round % 3; ++i) {
      text[random() % reach] = "0123456789\"{}[],:ax\\"[random() % 20];
    }
    auto parts = ReadTokenizerJson(text);
    if (!parts.ok()) continue;
    const ComposedTokenizer tokenizer(*std::move(parts));
    const auto ids = tokenizer.Encode("a 12 é\n<|eot_id|>");
    if (!ids.ok()) continue;
    CARAVAN_EXPECT_OK(CheckUtf8(Decode(tokenizer, *ids)));
  }
}

TEST_F(ChangedJsonTest, AddedWordsAreFoundInTextAndMarkupIsNot) {
  Json file = File("gpt2");
  file["added_tokens"].push_back(
      {{"id", 1000}, {"content", "caravanserai"}, {"special", false}});
  file["added_tokens"].push_back(
      {{"id", 1001}, {"content", "<tool>"}, {"special", false}});
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto parts, ReadTokenizerJson(file.dump()));
  const ComposedTokenizer tokenizer(std::move(parts));
  EXPECT_EQ(tokenizer.vocab_size(), 1002);
  EXPECT_THAT(tokenizer.Encode("caravanserai"),
              IsOkAndHolds(ElementsAre(1000)));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer.Encode("<tool>"));
  EXPECT_THAT(ids, ::testing::Not(::testing::Contains(1001)));
  EXPECT_THAT(tokenizer.EncodePieces({{"<tool>", true}}),
              IsOkAndHolds(ElementsAre(1001)));
  EXPECT_FALSE(tokenizer.IsSpecial(1001));
  EXPECT_EQ(tokenizer.SpecialToken("<tool>"), 1001);
  EXPECT_EQ(tokenizer.SpecialToken("caravanserai"), -1);
}

}  // namespace
}  // namespace caravan::coordinator
