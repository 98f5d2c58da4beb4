#include "coordinator/text/sentencepiece_model.h"

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "coordinator/text/sentencepiece_file.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "gmock/gmock.h"
#include "tests/coordinator/text/text_goldens.h"
#include "tests/partition/model/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using partition::TemporaryFolder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::IsOkAndHolds;
using ::testing::Not;
using testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

TEST(SentencePieceModelTest, GivesTheLibrarysIds) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                               LoadTokenizer(GoldenPath("sentencepiece")));
  ExpectGoldenIds(*tokenizer, "sentencepiece/ids.json");
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->bos_token(), 1);
  EXPECT_EQ(tokenizer->eos_token(), 2);
  EXPECT_EQ(tokenizer->SpecialToken("</s>"), 2);
  EXPECT_TRUE(tokenizer->strips_leading_space());
}

TEST(SentencePieceModelTest, GivesTheLibrarysIdsForLlama2) {
  const char* named = std::getenv("CARAVAN_LLAMA2_TOKENIZER");
  const std::string model =
      named != nullptr ? named : "../shared/data/llama2-tokenizer.model";
  if (!std::filesystem::exists(model)) {
    GTEST_SKIP() << "no Llama 2 tokenizer at " << model
                 << "; CARAVAN_LLAMA2_TOKENIZER names one";
  }
  const TemporaryFolder folder;
  folder.Write("tokenizer.model", ReadFileOrDie(model));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                               LoadTokenizer(folder.path()));
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  ExpectGoldenIds(*tokenizer, "llama2_ids.json");
}

// Pieces of a small vocabulary: control tokens, all bytes, and `more`.
SentencePieceVocabulary Vocabulary(std::vector<SentencePiece> more) {
  SentencePieceVocabulary vocabulary;
  vocabulary.pieces = {{"<unk>", 0, PieceType::kUnknown},
                       {"<s>", 0, PieceType::kControl},
                       {"</s>", 0, PieceType::kControl}};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.pieces.push_back(
        {absl::StrFormat("<0x%02X>", byte), 0, PieceType::kByte});
  }
  for (SentencePiece& piece : more) {
    vocabulary.pieces.push_back(std::move(piece));
  }
  return vocabulary;
}
constexpr int32_t kFirst = 259;  // id of the first of `more`

std::vector<int32_t> Encode(SentencePieceVocabulary vocabulary,
                            absl::string_view text) {
  auto parts = SentencePieceParts(vocabulary);
  EXPECT_THAT(parts, IsOk());
  if (!parts.ok()) return {};
  const auto ids = ComposedTokenizer(*std::move(parts)).Encode(text);
  EXPECT_THAT(ids, IsOk());
  return ids.value_or(std::vector<int32_t>());
}

TEST(SentencePieceModelTest, TheBestScoreIsMergedFirst) {
  SentencePieceVocabulary vocabulary = Vocabulary(
      {{"a", -1}, {"b", -2}, {"c", -3}, {"ab", -5}, {"bc", -4}, {"abc", -6}});
  vocabulary.dummy_prefix = DummyPrefix::kNever;
  EXPECT_THAT(Encode(vocabulary, "abc"), ElementsAre(kFirst + 5));
  EXPECT_THAT(Encode(vocabulary, "bbc"), ElementsAre(kFirst + 1, kFirst + 4));
  // Equal scores: leftmost first.
  vocabulary.pieces[kFirst + 5].text = "xyz";
  vocabulary.pieces[kFirst + 3].score = -4;
  EXPECT_THAT(Encode(vocabulary, "abc"), ElementsAre(kFirst + 3, kFirst + 2));
}

TEST(SentencePieceModelTest, ControlTokensAndBytesAreNeverSpelled) {
  // A vocabulary in which merges would lead to them.
  SentencePieceVocabulary vocabulary = Vocabulary({{"<", -1},
                                                   {"s", -2},
                                                   {">", -3},
                                                   {"<s", -4},
                                                   {"s>", -5},
                                                   {"/", -6},
                                                   {"0", -7},
                                                   {"x", -8},
                                                   {"A", -9},
                                                   {"<0", -10},
                                                   {"xA", -11},
                                                   {"</", -12}});
  for (const std::string text : {"<s>", "</s>", "<unk>", "<0x0A>", "<s><s>"}) {
    const std::vector<int32_t> ids = Encode(vocabulary, text);
    for (const int32_t id : {0, 1, 2, 3 + 0x0A}) {
      EXPECT_THAT(ids, Not(Contains(id))) << text;
    }
  }
}

TEST(SentencePieceModelTest, UserDefinedPiecesStayWhole) {
  const std::vector<SentencePiece> more = {
      {"a", -1},
      {"b", -2},
      {"ab", -3},
      {"abb", 0, PieceType::kUserDefined},
      {"<|im_start|>", 0, PieceType::kUserDefined},
      {"abba", -4}};
  SentencePieceVocabulary vocabulary = Vocabulary(more);
  vocabulary.dummy_prefix = DummyPrefix::kNever;
  EXPECT_THAT(Encode(vocabulary, "abba"), ElementsAre(kFirst + 3, kFirst));
  // In brackets: for templates only.
  EXPECT_THAT(Encode(vocabulary, "<|im_start|>"), Not(Contains(kFirst + 4)));
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto parts, SentencePieceParts(vocabulary));
  const ComposedTokenizer tokenizer(std::move(parts));
  EXPECT_THAT(tokenizer.EncodePieces({{"<|im_start|>", true}}),
              IsOkAndHolds(ElementsAre(kFirst + 4)));
  EXPECT_FALSE(tokenizer.IsSpecial(kFirst + 4));
  EXPECT_TRUE(tokenizer.IsSpecial(1));
}

TEST(SentencePieceModelTest, WithoutByteFallbackARunOfUnknownsIsOneToken) {
  SentencePieceVocabulary vocabulary = Vocabulary({{"a", -1}});
  vocabulary.dummy_prefix = DummyPrefix::kNever;
  vocabulary.byte_fallback = false;
  EXPECT_THAT(Encode(vocabulary, "aéèa"), ElementsAre(kFirst, 0, kFirst));
}

TEST(SentencePieceModelTest, DummyPrefixByKind) {
  SentencePieceVocabulary vocabulary =
      Vocabulary({{"\u2581", -1}, {"a", -2}, {"\u2581a", -3}});
  const auto pieces = [&](DummyPrefix prefix) {
    vocabulary.dummy_prefix = prefix;
    auto parts = SentencePieceParts(vocabulary);
    return ComposedTokenizer(*std::move(parts))
        .EncodePieces({{"a", false}, {"<s>", true}, {"a", false}});
  };
  constexpr int32_t kA = kFirst + 1;
  constexpr int32_t kSpaceA = kFirst + 2;
  EXPECT_THAT(pieces(DummyPrefix::kNever),
              IsOkAndHolds(ElementsAre(kA, 1, kA)));
  EXPECT_THAT(pieces(DummyPrefix::kFirst),
              IsOkAndHolds(ElementsAre(kSpaceA, 1, kA)));
  EXPECT_THAT(pieces(DummyPrefix::kAlways),
              IsOkAndHolds(ElementsAre(kSpaceA, 1, kSpaceA)));
}

TEST(SentencePieceModelTest, RefusesBrokenVocabularies) {
  const std::vector<SentencePiece> broken = {
      {"", 0},
      {"<s>", 0},  // twice
      {"\xFF", 0},
      {"a", std::numeric_limits<float>::quiet_NaN()},
      {"a", std::numeric_limits<float>::infinity()},
      {"byte", 0, PieceType::kByte}};
  for (const SentencePiece& piece : broken) {
    EXPECT_THAT(SentencePieceParts(Vocabulary({piece})),
                StatusIs(kInvalid, HasSubstr("piece 259")));
  }
  EXPECT_THAT(SentencePieceParts({}), StatusIs(kInvalid));
}

TEST(SentencePieceModelTest, LongRunsAreEncodedInReasonableTime) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                               LoadTokenizer(GoldenPath("sentencepiece")));
  for (const std::string unit : {"a", " ", "😀", "ka"}) {
    std::string text;
    while (text.size() < 1 << 20) text += unit;
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->Encode(text));
    EXPECT_EQ(Decode(*tokenizer, ids), text);
  }
}

TEST(SentencePieceFileTest, RefusesWhatIsCutShortOrNoise) {
  const std::string whole =
      ReadFileOrDie(GoldenPath("sentencepiece/tokenizer.model"));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const SentencePieceFile file,
                               ReadSentencePieceFile(whole));
  EXPECT_EQ(file.vocabulary.pieces.size(), 900u);
  // The specs stand behind the pieces: without them it is no BPE model.
  for (size_t size = 0; size < whole.size() - 100; size += 97) {
    EXPECT_FALSE(ReadSentencePieceFile(whole.substr(0, size)).ok()) << size;
  }
  std::string noise;
  for (int i = 0; i < 4096; ++i)
    noise.push_back(static_cast<char>(i * 37 % 251));
  EXPECT_FALSE(ReadSentencePieceFile(noise).ok());
  EXPECT_FALSE(ReadSentencePieceFile(std::string(1 << 16, '\xFF')).ok());
}

// Whatever a file says: a status or a tokenizer that works, and no crash.
TEST(SentencePieceFileTest, BrokenFilesAreHarmless) {
  const std::string whole =
      ReadFileOrDie(GoldenPath("sentencepiece/tokenizer.model"));
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 1 + round % 5; ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    auto file = ReadSentencePieceFile(bytes);
    if (!file.ok()) continue;
    auto parts = SentencePieceParts(file->vocabulary);
    if (!parts.ok()) continue;
    const ComposedTokenizer tokenizer(*std::move(parts));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer.Encode("a é \n<s>"));
    CARAVAN_EXPECT_OK(CheckUtf8(Decode(tokenizer, ids)));
  }
}

std::string Message(int field, const std::string& payload) {
  return std::string{static_cast<char>(field << 3 | 2),
                     static_cast<char>(payload.size())} +
         payload;
}
std::string Number(int field, char value) {
  return {static_cast<char>(field << 3), value};
}

TEST(SentencePieceFileTest, RefusesOtherModelsAndNormalizersByName) {
  const std::string piece = Message(1, Message(1, "a"));
  const std::string bpe = Message(2, Number(3, 2));
  const std::string plain = Message(3, Number(4, 0));
  CARAVAN_EXPECT_OK(ReadSentencePieceFile(piece + bpe + plain).status());
  const std::pair<std::string, std::string> cases[] = {
      {piece + plain, "model_type 1"},
      {piece + bpe, "remove_extra_whitespaces"},
      {piece + bpe + Message(3, Number(4, 0) + Number(5, 0)),
       "escape_whitespaces"},
      {piece + bpe +
           Message(3, Number(4, 0) + Message(1, "nfkc") + Message(2, "map")),
       "nfkc"},
      {piece + Message(2, Number(3, 2) + "\xC0\x01\x01") + plain,
       "treat_whitespace_as_suffix"},
      {Message(1, Message(1, "a") + Number(3, 5)) + bpe + plain, "unused"},
  };
  for (const auto& [bytes, name] : cases) {
    EXPECT_THAT(ReadSentencePieceFile(bytes),
                StatusIs(kUnimplemented, HasSubstr(name)));
  }
  EXPECT_THAT(
      ReadSentencePieceFile(Message(1, Message(1, "a") + Number(3, 9)) + bpe),
      StatusIs(kInvalid, HasSubstr("type 9")));
}

}  // namespace
}  // namespace caravan::coordinator
