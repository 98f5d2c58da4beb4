#include "coordinator/api/prepared_generation.h"

#include <string>

#include "coordinator/api/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/simulated_backend.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::ByteTokenizer;
using ::caravan::testing::SimulatedBackend;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ids = std::vector<int32_t>;

class PreparedGenerationTest : public ::testing::Test {
 protected:
  PreparedGenerationTest()
      : backend_({.max_model_len = 20}), model_(backend_.model()) {}

  static CompletionRequest Request(Prompt prompt, int64_t max_tokens) {
    CompletionRequest request;
    request.prompts = {std::move(prompt)};
    request.parameters.max_tokens = max_tokens;
    return request;
  }

  SimulatedBackend backend_;
  ServedModel model_;
};

TEST_F(PreparedGenerationTest, PutsBosBeforeText) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const PreparedGeneration prepared,
                               PrepareCompletion(Request("ab", 4), model_));
  EXPECT_THAT(prepared.prompts[0].ids,
              ElementsAre(ByteTokenizer::kBos, 'a', 'b'));
  EXPECT_EQ(prepared.prompts[0].max_tokens, 4);
  CompletionRequest bare = Request("ab", 4);
  bare.add_special_tokens = false;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const PreparedGeneration without,
                               PrepareCompletion(bare, model_));
  EXPECT_THAT(without.prompts[0].ids, ElementsAre('a', 'b'));
}

TEST_F(PreparedGenerationTest, UserTextIsNoControlToken) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const PreparedGeneration prepared,
                               PrepareCompletion(Request("</s>", 4), model_));
  EXPECT_THAT(prepared.prompts[0].ids,
              ElementsAre(ByteTokenizer::kBos, '<', '/', 's', '>'));
  ChatRequest chat;
  chat.messages = {{"user", "<|im_end|>"}};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const PreparedGeneration talk,
                               PrepareChat(chat, model_));
  EXPECT_EQ(talk.prompts[0].ids.size(), 13);  // 3 control tokens, 10 bytes
}

TEST_F(PreparedGenerationTest, TakesIdsAsTheyAre) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const PreparedGeneration prepared,
      PrepareCompletion(Request(Ids{ByteTokenizer::kEos, 'a'}, 4), model_));
  EXPECT_THAT(prepared.prompts[0].ids, ElementsAre(ByteTokenizer::kEos, 'a'));
  EXPECT_THAT(PrepareCompletion(Request(Ids{'a', 4096}, 4), model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("prompt has token id 4096")));
}

TEST_F(PreparedGenerationTest, ChatMayFillTheContext) {
  ChatRequest chat;
  chat.messages = {{"user", "abc"}};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const PreparedGeneration prepared,
                               PrepareChat(chat, model_));
  EXPECT_EQ(prepared.prompts[0].max_tokens, 14);
}

TEST_F(PreparedGenerationTest, WhatDoesNotFitIsRefusedAsVllmDoes) {
  CARAVAN_EXPECT_OK(PrepareCompletion(Request(Ids(16, 'a'), 4), model_));
  const auto too_many = PrepareCompletion(Request(Ids(16, 'a'), 5), model_);
  EXPECT_THAT(too_many,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("maximum context length is 20 tokens and "
                                 "your request has 16 input tokens")));
  EXPECT_EQ(ToApiError(too_many.status()).code, "context_length_exceeded");
  EXPECT_THAT(PrepareCompletion(Request(Ids(20, 'a'), 1), model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("at least 20 input tokens")));
  EXPECT_THAT(
      PrepareCompletion(Request(Ids(5, 'a'), int64_t{1} << 62), model_),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is too large")));
}

TEST_F(PreparedGenerationTest, LongTextIsRefusedUnread) {
  model_.longest_token_bytes = LongestTokenBytes(*model_.tokenizer);
  EXPECT_EQ(model_.longest_token_bytes, 12);  // <|im_start|>
  // Not UTF-8, which the tokenizer would have complained of.
  EXPECT_THAT(
      PrepareCompletion(Request(std::string(1 << 20, '\xff'), 1), model_),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("at least 87381 input tokens")));
}

TEST_F(PreparedGenerationTest, RefusesByName) {
  EXPECT_THAT(PrepareCompletion(Request("\xff", 1), model_),
              StatusIs(absl::StatusCode::kInvalidArgument));
  CompletionRequest request = Request("", 1);
  request.add_special_tokens = false;
  EXPECT_THAT(PrepareCompletion(request, model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("prompt must not be empty")));
  request = Request("a", 1);
  request.parameters.model = "../../etc/passwd";
  EXPECT_THAT(PrepareCompletion(request, model_),
              StatusIs(absl::StatusCode::kNotFound));
  request.parameters.model = "other-name";
  CARAVAN_EXPECT_OK(PrepareCompletion(request, model_));
  request.parameters.stop_token_ids = {5000};
  EXPECT_THAT(PrepareCompletion(request, model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("stop_token_ids has token id 5000")));
  ChatRequest chat;
  chat.messages = {{"user", "unrenderable"}};
  EXPECT_THAT(PrepareChat(chat, model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("no place for message 0")));
}

TEST_F(PreparedGenerationTest, SaysWhatTheServerLacks) {
  ChatRequest chat;
  chat.messages = {{"user", "a"}};
  model_.chat_template = nullptr;
  EXPECT_THAT(PrepareChat(chat, model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--chat-template")));
  model_.tokenizer = nullptr;
  EXPECT_THAT(PrepareChat(chat, model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--skip-tokenizer-init")));
  EXPECT_THAT(PrepareCompletion(Request("a", 1), model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("prompt must be token ids")));
  CARAVAN_EXPECT_OK(PrepareCompletion(Request(Ids{1, 2}, 1), model_));
  CompletionRequest stops = Request(Ids{1, 2}, 1);
  stops.parameters.stop = {"x"};
  EXPECT_THAT(PrepareCompletion(stops, model_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("use stop_token_ids")));
  model_.max_model_len = [] { return int64_t{0}; };
  EXPECT_THAT(PrepareCompletion(Request(Ids{1, 2}, 1), model_),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace caravan::coordinator
