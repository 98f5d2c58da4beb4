#include "coordinator/api/choice_stream.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/byte_tokenizer.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::ByteTokenizer;
using ::testing::ElementsAre;

class ChoiceStreamTest : public ::testing::Test {
 protected:
  ChoiceStreamTest() {
    model_.names = {"m"};
    model_.tokenizer = &tokenizer_;
    model_.vocab_size = ByteTokenizer::kVocabSize;
    model_.eos_tokens = {ByteTokenizer::kEos};
    generation_.prompts = {{.ids = {'a', 'b'}, .text = "ab"}};
  }

  GenerationParameters& parameters() { return generation_.parameters; }
  ChoiceStream MakeStream() { return ChoiceStream(0, generation_, model_); }

  static void Add(ChoiceStream* stream, const std::string& bytes) {
    for (char c : bytes) {
      stream->AddToken({.id = static_cast<unsigned char>(c)});
    }
  }

  ByteTokenizer tokenizer_;
  ServedModel model_;
  PreparedGeneration generation_;
};

TEST_F(ChoiceStreamTest, GivesTextAsItComes) {
  ChoiceStream stream = MakeStream();
  EXPECT_FALSE(stream.has_delta());
  Add(&stream, "he");
  ChoiceDelta delta = stream.Take();
  EXPECT_TRUE(delta.is_first);
  EXPECT_EQ(delta.text, "he");
  EXPECT_THAT(delta.token_ids, ElementsAre('h', 'e'));
  Add(&stream, "y");
  stream.Finish(/*by_length=*/true);
  delta = stream.Take();
  EXPECT_FALSE(delta.is_first);
  EXPECT_EQ(delta.text, "y");
  ASSERT_TRUE(delta.end.has_value());
  EXPECT_TRUE(delta.end->by_length);
  EXPECT_EQ(delta.completion_tokens, 3);
}

TEST_F(ChoiceStreamTest, NeverEndsInsideACharacter) {
  ChoiceStream stream = MakeStream();
  const std::string text = "\xf0\x9f\x90\xaa!";
  for (size_t i = 0; i < 3; ++i) {
    Add(&stream, text.substr(i, 1));
    EXPECT_EQ(stream.Take().text, "");
  }
  Add(&stream, text.substr(3));
  EXPECT_EQ(stream.Take().text, text);
}

TEST_F(ChoiceStreamTest, ReplacesWhatNeverBecomesACharacter) {
  ChoiceStream stream = MakeStream();
  Add(&stream, "a\xe2\x82");
  stream.Finish(/*by_length=*/true);
  EXPECT_EQ(stream.Take().text, "a\xef\xbf\xbd");
}

TEST_F(ChoiceStreamTest, EndsAtAStopStringAcrossTokens) {
  parameters().stop = {"END"};
  ChoiceStream stream = MakeStream();
  Add(&stream, "ab EN");
  EXPECT_EQ(stream.Take().text, "ab ");
  EXPECT_FALSE(stream.ended());
  Add(&stream, "D");
  EXPECT_TRUE(stream.ended());
  Add(&stream, "more");
  const ChoiceDelta delta = stream.Take();
  EXPECT_EQ(delta.text, "");
  ASSERT_TRUE(delta.end.has_value());
  EXPECT_FALSE(delta.end->by_length);
  EXPECT_EQ(delta.end->stop_string, "END");
  EXPECT_EQ(delta.completion_tokens, 6);
}

TEST_F(ChoiceStreamTest, ShowsTheStopStringWhenAsked) {
  parameters().stop = {"END"};
  parameters().include_stop_text = true;
  ChoiceStream stream = MakeStream();
  Add(&stream, "abEND");
  EXPECT_EQ(stream.Take().text, "abEND");
}

TEST_F(ChoiceStreamTest, GivesBackWhatOnlyLookedLikeAStop) {
  parameters().stop = {"END"};
  ChoiceStream stream = MakeStream();
  Add(&stream, "xEN");
  stream.Finish(/*by_length=*/true);
  const ChoiceDelta delta = stream.Take();
  EXPECT_EQ(delta.text, "xEN");
  EXPECT_TRUE(delta.end->by_length);
}

TEST_F(ChoiceStreamTest, EndsAtEosWithoutShowingIt) {
  ChoiceStream stream = MakeStream();
  Add(&stream, "a");
  stream.AddToken({.id = ByteTokenizer::kEos});
  stream.Finish(/*by_length=*/false);
  const ChoiceDelta delta = stream.Take();
  EXPECT_EQ(delta.text, "a");
  EXPECT_THAT(delta.token_ids, ElementsAre('a', ByteTokenizer::kEos));
  EXPECT_FALSE(delta.end->by_length);
  EXPECT_FALSE(delta.end->stop_token.has_value());
  EXPECT_EQ(delta.completion_tokens, 2);
}

TEST_F(ChoiceStreamTest, NamesTheClientsStopToken) {
  parameters().stop_token_ids = {'z'};
  ChoiceStream stream = MakeStream();
  Add(&stream, "az");
  stream.Finish(/*by_length=*/false);
  const ChoiceDelta delta = stream.Take();
  EXPECT_EQ(delta.text, "a");
  EXPECT_EQ(delta.end->stop_token, 'z');
}

TEST_F(ChoiceStreamTest, ShowsControlTokensWhenAsked) {
  parameters().skip_special_tokens = false;
  ChoiceStream stream = MakeStream();
  Add(&stream, "a");
  stream.AddToken({.id = ByteTokenizer::kMessageStart});
  Add(&stream, "b");
  EXPECT_EQ(stream.Take().text, "a<|im_start|>b");
}

TEST_F(ChoiceStreamTest, EchoesThePrompt) {
  generation_.echo = true;
  ChoiceStream stream = MakeStream();
  Add(&stream, "c");
  EXPECT_EQ(stream.Take().text, "abc");
}

TEST_F(ChoiceStreamTest, ScoresPromptAndTokens) {
  generation_.echo = true;
  parameters().logprobs = 1;
  ChoiceStream stream = MakeStream();
  stream.AddPromptScores(
      {{.id = 'b', .logprob = -1, .top_ids = {'x'}, .top_logprobs = {-0.5f}}});
  stream.AddToken(
      {.id = 'c',
       .logprob = {
           .id = 'c', .logprob = -2, .top_ids = {'c'}, .top_logprobs = {-2}}});
  const ChoiceDelta delta = stream.Take();
  ASSERT_EQ(delta.scores.size(), 3);
  EXPECT_EQ(delta.scores[0].bytes, "a");
  EXPECT_FALSE(delta.scores[0].logprob.has_value());
  EXPECT_EQ(delta.scores[1].logprob, -1);
  ASSERT_EQ(delta.scores[1].top.size(), 2);  // the likeliest and itself
  EXPECT_EQ(delta.scores[1].top[0].bytes, "x");
  EXPECT_EQ(delta.scores[1].top[1].bytes, "b");
  EXPECT_EQ(delta.scores[2].top.size(), 1);
  EXPECT_EQ(delta.scores[2].text_offset, 2);
}

TEST_F(ChoiceStreamTest, CountsOffsetsFromItsOwnStart) {
  parameters().logprobs = 0;
  ChoiceStream stream = MakeStream();
  Add(&stream, "xy");
  const ChoiceDelta delta = stream.Take();
  ASSERT_EQ(delta.scores.size(), 2);
  EXPECT_EQ(delta.scores[0].text_offset, 0);
  EXPECT_EQ(delta.scores[1].text_offset, 1);
}

TEST_F(ChoiceStreamTest, WorksWithoutTokenizer) {
  model_.tokenizer = nullptr;
  parameters().logprobs = 0;
  ChoiceStream stream = MakeStream();
  stream.AddToken({.id = 7, .logprob = {.id = 7, .logprob = -1}});
  stream.Finish(/*by_length=*/true);
  const ChoiceDelta delta = stream.Take();
  EXPECT_EQ(delta.text, "");
  EXPECT_THAT(delta.token_ids, ElementsAre(7));
  EXPECT_EQ(delta.scores[0].bytes, "token_id:7");
}

}  // namespace
}  // namespace caravan::coordinator
