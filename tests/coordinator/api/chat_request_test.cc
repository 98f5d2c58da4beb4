#include "coordinator/api/chat_request.h"

#include <nlohmann/json.hpp>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

absl::StatusOr<ChatRequest> Parse(const std::string& text) {
  return ParseChatRequest(nlohmann::json::parse(text), ApiLimits());
}

TEST(ChatRequestTest, ReadsMessages) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const ChatRequest request,
      Parse(R"({"messages":[{"role":"developer","content":"d"},
                            {"role":"user","content":[
                               {"type":"text","text":"a"},
                               {"type":"text","text":"b"}],"name":"x"},
                            {"role":"assistant","content":""}],
                "max_completion_tokens":3})"));
  ASSERT_EQ(request.messages.size(), 3);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[1].role, "user");
  EXPECT_EQ(request.messages[1].content, "a\nb");
  EXPECT_EQ(request.messages[2].content, "");
  EXPECT_EQ(request.parameters.max_tokens, 3);
  EXPECT_TRUE(request.add_generation_prompt);
}

TEST(ChatRequestTest, ReadsLogprobs) {
  const std::string messages = R"("messages":[{"role":"user","content":"a"}])";
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ChatRequest none,
                               Parse("{" + messages + "}"));
  EXPECT_EQ(none.parameters.logprobs, -1);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ChatRequest own,
                               Parse("{" + messages + R"(,"logprobs":true})"));
  EXPECT_EQ(own.parameters.logprobs, 0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const ChatRequest top,
      Parse("{" + messages + R"(,"logprobs":true,"top_logprobs":4})"));
  EXPECT_EQ(top.parameters.logprobs, 4);
}

TEST(ChatRequestTest, RefusesByField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({})", "messages is required"},
      {R"({"messages":"a"})", "messages must be an array"},
      {R"({"messages":[]})", "messages must not be empty"},
      {R"({"messages":["a"]})", "messages[0] must be an object"},
      {R"({"messages":[{"content":"a"}]})", "messages[0].role is required"},
      {R"({"messages":[{"role":"root","content":"a"}]})",
       "messages[0].role must be system"},
      {R"({"messages":[{"role":"tool","content":"a"}]})", "messages[0].role"},
      {R"({"messages":[{"role":7,"content":"a"}]})",
       "messages[0].role must be a string"},
      {R"({"messages":[{"role":"user"}]})", "messages[0].content is required"},
      {R"({"messages":[{"role":"user","content":null}]})",
       "messages[0].content is required"},
      {R"({"messages":[{"role":"user","content":7}]})",
       "messages[0].content must be a string or an array"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url",
           "image_url":{"url":"http://127.0.0.1/"}}]}]})",
       "messages[0].content parts must be of type text"},
      {R"({"messages":[{"role":"user","content":["a"]}]})",
       "messages[0].content parts must be objects"},
      {R"({"messages":[{"role":"user","content":[{"text":"a"}]}]})",
       "messages[0].content parts must have a type"},
      {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
       "parts of type text must have a text"},
      {R"({"messages":[{"role":"assistant","content":"a",
           "tool_calls":[{"id":"x"}]}]})",
       "messages[0].tool_calls is not supported yet"},
      {R"({"messages":[{"role":"user","content":"a"}],"max_tokens":0})",
       "max_tokens must be at least 1"},
      {R"({"messages":[{"role":"user","content":"a"}],"logprobs":3})",
       "logprobs must be true or false"},
      {R"({"messages":[{"role":"user","content":"a"}],"top_logprobs":3})",
       "top_logprobs needs logprobs"},
      {R"({"messages":[{"role":"user","content":"a"}],"logprobs":true,
           "top_logprobs":21})",
       "top_logprobs must be between 0 and 20"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(Parse(text), StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr(message)))
        << text;
  }
}

TEST(ChatRequestTest, BoundsMessages) {
  nlohmann::json body;
  body["messages"] =
      std::vector<nlohmann::json>(4097, {{"role", "user"}, {"content", "a"}});
  EXPECT_THAT(ParseChatRequest(body, ApiLimits()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("at most 4096 messages, got 4097")));
}

}  // namespace
}  // namespace caravan::coordinator
