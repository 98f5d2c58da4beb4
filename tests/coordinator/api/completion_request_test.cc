#include "coordinator/api/completion_request.h"

#include <nlohmann/json.hpp>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ids = std::vector<int32_t>;

absl::StatusOr<CompletionRequest> Parse(const std::string& text) {
  return ParseCompletionRequest(nlohmann::json::parse(text), ApiLimits());
}

TEST(CompletionRequestTest, ReadsEveryFormOfPrompt) {
  const std::pair<const char*, std::vector<Prompt>> cases[] = {
      {R"({"prompt":"a"})", {"a"}},
      {R"({"prompt":["a","b"]})", {"a", "b"}},
      {R"({"prompt":[1,2]})", {Ids{1, 2}}},
      {R"({"prompt":[[1],[2,3]]})", {Ids{1}, Ids{2, 3}}},
      {R"({"prompt":["a",[2,3]]})", {"a", Ids{2, 3}}},
  };
  for (const auto& [text, prompts] : cases) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const CompletionRequest request, Parse(text));
    EXPECT_EQ(request.prompts, prompts) << text;
  }
}

TEST(CompletionRequestTest, HasItsDefaults) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const CompletionRequest request,
                               Parse(R"({"prompt":"a"})"));
  EXPECT_EQ(request.parameters.max_tokens, 16);
  EXPECT_EQ(request.parameters.logprobs, -1);
  EXPECT_FALSE(request.echo);
  EXPECT_TRUE(request.add_special_tokens);
}

TEST(CompletionRequestTest, EchoesWithoutGenerating) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const CompletionRequest request,
      Parse(R"({"prompt":"a","echo":true,"max_tokens":0,"logprobs":0})"));
  EXPECT_EQ(request.parameters.max_tokens, 0);
  EXPECT_EQ(request.parameters.logprobs, 0);
}

TEST(CompletionRequestTest, RefusesByField) {
  const std::pair<const char*, const char*> cases[] = {
      {"{}", "prompt is required"},
      {R"({"prompt":null})", "prompt is required"},
      {R"({"prompt":7})", "prompt must be a string"},
      {R"({"prompt":{}})", "prompt must be a string"},
      {R"({"prompt":[]})", "prompt must not be empty"},
      {R"({"prompt":[[]]})", "prompt must not be empty"},
      {R"({"prompt":[1,"a"]})", "prompt must hold token ids only: element 1"},
      {R"({"prompt":[1,2.5]})", "prompt must hold token ids only: element 1"},
      {R"({"prompt":[-1]})", "prompt must hold token ids only: element 0"},
      {R"({"prompt":[[[1]]]})", "prompt must hold token ids only"},
      {R"({"prompt":[true]})", "prompt must be a string"},
      {R"({"prompt":[99999999999]})", "prompt must hold token ids only"},
      {R"({"prompt":"a","max_tokens":0})", "max_tokens must be at least 1"},
      {R"({"prompt":"a","logprobs":21})", "logprobs must be between 0 and 20"},
      {R"({"prompt":"a","logprobs":true})", "logprobs must be an integer"},
      {R"({"prompt":"a","logprobs":1000000})", "logprobs must be between"},
      {R"({"prompt":"a","echo":"yes"})", "echo must be true or false"},
      {R"({"prompt":"a","suffix":"b"})", "suffix is not supported yet"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(Parse(text), StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr(message)))
        << text;
  }
}

TEST(CompletionRequestTest, BoundsPrompts) {
  nlohmann::json body;
  body["prompt"] = std::vector<std::string>(17, "a");
  EXPECT_THAT(ParseCompletionRequest(body, ApiLimits()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("prompt has at most 16 prompts, got 17")));
}

}  // namespace
}  // namespace caravan::coordinator
