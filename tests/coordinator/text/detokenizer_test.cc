#include "coordinator/text/detokenizer.h"

#include <string>
#include <vector>

#include "coordinator/text/composed_tokenizer.h"
#include "coordinator/text/utf8.h"
#include "gtest/gtest.h"
#include "tests/coordinator/text/text_goldens.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

// One token per byte, then " a", "b" and a control token.
constexpr int32_t kSpaceA = 256;
constexpr int32_t kB = 257;
constexpr int32_t kControl = 258;

ComposedTokenizer MakeTokenizer(bool strips_leading_space) {
  TokenizerParts parts;
  for (int byte = 0; byte < 256; ++byte) {
    parts.token_bytes.push_back(std::string(1, static_cast<char>(byte)));
  }
  parts.token_bytes.insert(parts.token_bytes.end(), {" a", "b", "<x>"});
  parts.added_tokens.push_back(
      {.id = kControl, .spelling = "<x>", .control = true});
  parts.strips_leading_space = strips_leading_space;
  return ComposedTokenizer(std::move(parts));
}

std::vector<int32_t> Bytes(const std::string& bytes) {
  std::vector<int32_t> ids;
  for (const char byte : bytes) ids.push_back(static_cast<uint8_t>(byte));
  return ids;
}

TEST(DetokenizerTest, HoldsACharacterBackUntilItIsComplete) {
  const ComposedTokenizer tokenizer = MakeTokenizer(false);
  Detokenizer detokenizer(&tokenizer);
  EXPECT_EQ(detokenizer.Append(0xF0), "");
  EXPECT_EQ(detokenizer.Append(0x9F), "");
  EXPECT_EQ(detokenizer.Append(0x98), "");
  EXPECT_EQ(detokenizer.Append(0x80), "😀");
  EXPECT_EQ(detokenizer.Append('x'), "x");
  EXPECT_EQ(detokenizer.Finish(), "");
}

TEST(DetokenizerTest, InvalidBytesBecomeReplacementCharacters) {
  const ComposedTokenizer tokenizer = MakeTokenizer(false);
  Detokenizer detokenizer(&tokenizer);
  EXPECT_EQ(detokenizer.Append(0xFF), "\uFFFD");
  EXPECT_EQ(detokenizer.Append(0xE2), "");
  EXPECT_EQ(detokenizer.Append(0x82), "");
  EXPECT_EQ(detokenizer.Append('a'), "\uFFFDa");
  EXPECT_EQ(detokenizer.Append(0xC3), "");
  EXPECT_EQ(detokenizer.Finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.Finish(), "");
}

// What Python says to bytes.decode(errors="replace").
TEST(DetokenizerTest, ReplacesAsPythonDoes) {
  const std::pair<std::string, std::string> cases[] = {
      {"\xC0\x80", "\uFFFD\uFFFD"},
      {"\xE2\x82", "\uFFFD"},
      {"\xE2\x28\xA1", "\uFFFD(\uFFFD"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"\xF0\x80\x80\x41",
       "\uFFFD\uFFFD\uFFFD"
       "A"},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x9F\xF0\x9F\x98\x80", "\uFFFD😀"},
      {"a\x80\xC3\xA9", "a\uFFFDé"},
  };
  const ComposedTokenizer tokenizer = MakeTokenizer(false);
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(ReplaceInvalidUtf8(bytes), text);
    EXPECT_EQ(Decode(tokenizer, Bytes(bytes)), text);
    Detokenizer detokenizer(&tokenizer);
    std::string streamed;
    for (const int32_t id : Bytes(bytes)) {
      const std::string piece = detokenizer.Append(id);
      CARAVAN_EXPECT_OK(CheckUtf8(piece));
      streamed += piece;
    }
    EXPECT_EQ(streamed + detokenizer.Finish(), text);
  }
}

TEST(DetokenizerTest, LeavesControlTokensOutEvenInsideACharacter) {
  const ComposedTokenizer tokenizer = MakeTokenizer(false);
  EXPECT_EQ(Decode(tokenizer, {kControl, 0xC3, kControl, 0xA9, kB}), "éb");
}

TEST(DetokenizerTest, DropsTheDummyPrefixOnlyAtTheStartOfAText) {
  const ComposedTokenizer tokenizer = MakeTokenizer(true);
  Detokenizer start(&tokenizer, /*at_text_start=*/true);
  EXPECT_EQ(start.Append(kControl), "");
  EXPECT_EQ(start.Append(kSpaceA), "a");
  EXPECT_EQ(start.Append(kSpaceA), " a");
  Detokenizer middle(&tokenizer);
  EXPECT_EQ(middle.Append(kSpaceA), " a");
  EXPECT_EQ(Decode(tokenizer, {kB, kSpaceA}), "b a");
  EXPECT_EQ(Decode(MakeTokenizer(false), {kSpaceA}), " a");
}

TEST(DetokenizerTest, IdsOutsideTheVocabularyAreNothing) {
  const ComposedTokenizer tokenizer = MakeTokenizer(false);
  EXPECT_EQ(Decode(tokenizer, {kB, -5, 100000, kB}), "bb");
}

TEST(DetokenizerTest, StreamsTheGoldenStringsWhole) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                               LoadTokenizer(GoldenPath("llama3")));
  for (const std::string& text : GoldenStrings()) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->Encode(text));
    Detokenizer detokenizer(tokenizer.get(), /*at_text_start=*/true);
    std::string streamed;
    for (const int32_t id : ids) {
      const std::string piece = detokenizer.Append(id);
      CARAVAN_EXPECT_OK(CheckUtf8(piece));
      streamed += piece;
    }
    EXPECT_EQ(streamed + detokenizer.Finish(), text);
  }
}

}  // namespace
}  // namespace caravan::coordinator
