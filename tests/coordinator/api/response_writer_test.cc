#include "coordinator/api/response_writer.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

using nlohmann::json;

class ResponseWriterTest : public ::testing::Test {
 protected:
  ResponseWriterTest() {
    generation_.prompts = {{.ids = {1, 2}}};
    generation_.parameters.logprobs = 1;
    generation_.parameters.return_token_ids = true;
    delta_.is_first = true;
    delta_.text = "hi";
    delta_.token_ids = {104, 105};
    delta_.scores = {{.bytes = "h", .logprob = -0.5f, .top = {{"h", -0.5f}}},
                     {.bytes = "\xe2",
                      .logprob = -std::numeric_limits<float>::infinity(),
                      .text_offset = 1,
                      .top = {{"i", -0.25f}, {"\xe2", -1.5f}}}};
    delta_.end = ChoiceEnd{.stop_token = 105};
    delta_.completion_tokens = 2;
  }

  const ResponseIdentity identity_ = {"id-1", 1700000000, "m"};
  const Usage usage_ = {.prompt_tokens = 2, .completion_tokens = 2};
  PreparedGeneration generation_;
  ChoiceDelta delta_;
};

TEST_F(ResponseWriterTest, WritesACompletion) {
  const auto writer = MakeCompletionWriter(identity_, generation_);
  EXPECT_EQ(json::parse(writer->Whole({delta_}, usage_)), json::parse(R"({
      "id":"id-1","object":"text_completion","created":1700000000,"model":"m",
      "choices":[{"index":0,"text":"hi","finish_reason":"stop",
        "stop_reason":105,"prompt_token_ids":[1,2],"token_ids":[104,105],
        "logprobs":{"text_offset":[0,1],"tokens":["h","\ufffd"],
          "token_logprobs":[-0.5,-9999],
          "top_logprobs":[{"h":-0.5},{"i":-0.25,"\ufffd":-1.5}]}}],
      "usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4}})"));
}

TEST_F(ResponseWriterTest, WritesAChatCompletion) {
  const auto writer = MakeChatWriter(identity_, generation_);
  EXPECT_EQ(json::parse(writer->Whole({delta_}, usage_)), json::parse(R"({
      "id":"id-1","object":"chat.completion","created":1700000000,"model":"m",
      "choices":[{"index":0,"message":{"role":"assistant","content":"hi"},
        "finish_reason":"stop","stop_reason":105,"token_ids":[104,105],
        "logprobs":{"content":[
          {"token":"h","logprob":-0.5,"bytes":[104],"top_logprobs":[
            {"token":"h","logprob":-0.5,"bytes":[104]}]},
          {"token":"\ufffd","logprob":-9999,"bytes":[226],"top_logprobs":[
            {"token":"i","logprob":-0.25,"bytes":[105]}]}]}}],
      "usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4},
      "prompt_token_ids":[1,2]})"));
}

TEST_F(ResponseWriterTest, WritesChunksOfACompletion) {
  generation_.parameters.logprobs = -1;
  generation_.parameters.return_token_ids = false;
  generation_.parameters.include_usage = true;
  delta_.end.reset();
  const auto writer = MakeCompletionWriter(identity_, generation_);
  EXPECT_EQ(json::parse(writer->Chunk(delta_, std::nullopt)), json::parse(R"({
      "id":"id-1","object":"text_completion","created":1700000000,"model":"m",
      "choices":[{"index":0,"text":"hi","logprobs":null,"finish_reason":null,
        "stop_reason":null}],"usage":null})"));
  EXPECT_EQ(json::parse(writer->Chunk(delta_, usage_))["usage"],
            json::parse(R"({"prompt_tokens":2,"completion_tokens":2,
                            "total_tokens":4})"));
  const json last = json::parse(writer->UsageChunk(usage_));
  EXPECT_EQ(last["choices"], json::array());
  EXPECT_EQ(last["usage"]["total_tokens"], 4);
}

TEST_F(ResponseWriterTest, NamesTheRoleOnlyInTheFirstChunk) {
  generation_.parameters.logprobs = -1;
  generation_.parameters.return_token_ids = false;
  delta_.end = ChoiceEnd{.by_length = true};
  const auto writer = MakeChatWriter(identity_, generation_);
  json chunk = json::parse(writer->Chunk(delta_, std::nullopt));
  EXPECT_EQ(chunk["object"], "chat.completion.chunk");
  EXPECT_EQ(chunk["choices"][0]["delta"],
            json::parse(R"({"role":"assistant","content":"hi"})"));
  EXPECT_EQ(chunk["choices"][0]["finish_reason"], "length");
  EXPECT_FALSE(chunk.contains("usage"));
  delta_.is_first = false;
  chunk = json::parse(writer->Chunk(delta_, std::nullopt));
  EXPECT_EQ(chunk["choices"][0]["delta"], json::parse(R"({"content":"hi"})"));
}

TEST(ServerSentEventTest, HasItsFraming) {
  EXPECT_EQ(ServerSentEvent("{}"), "data: {}\n\n");
  EXPECT_EQ(LastServerSentEvent(), "data: [DONE]\n\n");
  EXPECT_EQ(ServerSentComment(), ": keep-alive\n\n");
}

}  // namespace
}  // namespace caravan::coordinator
