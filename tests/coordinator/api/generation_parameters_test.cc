#include "coordinator/api/generation_parameters.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/api/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<GenerationParameters> Parse(const std::string& text) {
  return ParseGenerationParameters(nlohmann::json::parse(text), ApiLimits());
}

TEST(GenerationParametersTest, HasOpenAisDefaults) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const GenerationParameters parameters,
                               Parse("{}"));
  EXPECT_EQ(parameters.num_choices, 1);
  EXPECT_EQ(parameters.temperature, 1);
  EXPECT_EQ(parameters.top_p, 1);
  EXPECT_EQ(parameters.top_k, 0);
  EXPECT_EQ(parameters.min_p, 0);
  EXPECT_FALSE(parameters.seed.has_value());
  EXPECT_FALSE(parameters.max_tokens.has_value());
  EXPECT_TRUE(parameters.skip_special_tokens);
  EXPECT_FALSE(parameters.stream);
}

TEST(GenerationParametersTest, ReadsEveryField) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const GenerationParameters parameters,
      Parse(R"({"model":"m","n":2,"best_of":2,"max_tokens":7,
                "temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,
                "seed":-9223372036854775808,"stop":["a","b"],
                "stop_token_ids":[1,2],"ignore_eos":true,
                "include_stop_str_in_output":true,"skip_special_tokens":false,
                "return_token_ids":true,"stream":true,
                "stream_options":{"include_usage":true,
                                  "continuous_usage_stats":true}})"));
  EXPECT_EQ(parameters.model, "m");
  EXPECT_EQ(parameters.num_choices, 2);
  EXPECT_EQ(parameters.max_tokens, 7);
  EXPECT_EQ(parameters.temperature, 0.5f);
  EXPECT_EQ(parameters.top_p, 0.9f);
  EXPECT_EQ(parameters.top_k, 40);
  EXPECT_EQ(parameters.min_p, 0.1f);
  EXPECT_EQ(parameters.seed, std::numeric_limits<int64_t>::min());
  EXPECT_THAT(parameters.stop, ElementsAre("a", "b"));
  EXPECT_THAT(parameters.stop_token_ids, ElementsAre(1, 2));
  EXPECT_TRUE(parameters.ignore_eos);
  EXPECT_TRUE(parameters.include_stop_text);
  EXPECT_FALSE(parameters.skip_special_tokens);
  EXPECT_TRUE(parameters.return_token_ids);
  EXPECT_TRUE(parameters.stream);
  EXPECT_TRUE(parameters.include_usage);
  EXPECT_TRUE(parameters.continuous_usage);
}

TEST(GenerationParametersTest, ReadsEachSpelling) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const GenerationParameters parameters,
      Parse(R"({"max_tokens":5,"max_completion_tokens":6,"top_k":-1,
                "stop":"x","temperature":1e-9,"n":1.0,"seed":null})"));
  EXPECT_EQ(parameters.max_tokens, 6);
  EXPECT_EQ(parameters.top_k, 0);
  EXPECT_THAT(parameters.stop, ElementsAre("x"));
  EXPECT_EQ(parameters.temperature, 0);
  EXPECT_EQ(parameters.num_choices, 1);
}

TEST(GenerationParametersTest, AcceptsNeutralAndUnknownFields) {
  CARAVAN_EXPECT_OK(
      Parse(R"({"logit_bias":{},"presence_penalty":0,"frequency_penalty":0.0,
                "repetition_penalty":1,"response_format":{"type":"text"},
                "tools":[],"tool_choice":"none","guided_json":null,
                "user":"somebody","priority":3,"nobody_knows":{"a":[1]}})"));
}

struct BadField {
  std::string text;
  std::string param;
  std::string message;
};

class BadFieldTest : public ::testing::TestWithParam<BadField> {};

TEST_P(BadFieldTest, IsRefusedByName) {
  const absl::StatusOr<GenerationParameters> result = Parse(GetParam().text);
  ASSERT_THAT(result, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr(GetParam().message)));
  const ApiError error = ToApiError(result.status());
  EXPECT_EQ(error.http_status, 400);
  EXPECT_EQ(error.param, GetParam().param);
}

const BadField kBadFields[] = {
    {R"({"n":0})", "n", "between 1 and 8, got 0"},
    {R"({"n":-1})", "n", "between 1 and 8, got -1"},
    {R"({"n":1000000000})", "n", "between 1 and 8"},
    {R"({"n":18446744073709551615})", "n", "between 1 and 8"},
    {R"({"n":"2"})", "n", "must be an integer"},
    {R"({"n":true})", "n", "must be an integer"},
    {R"({"n":1.5})", "n", "must be an integer, got 1.5"},
    {R"({"best_of":3})", "best_of", "must equal n (1), got 3"},
    {R"({"max_tokens":-1})", "max_tokens", "between 0 and"},
    {R"({"max_tokens":1.5})", "max_tokens", "must be an integer"},
    {R"({"max_tokens":9223372036854775808})", "max_tokens", "between 0"},
    {R"({"max_completion_tokens":[]})", "max_completion_tokens", "an integer"},
    {R"({"temperature":-1})", "temperature", "between 0 and 100, got -1"},
    {R"({"temperature":1e38})", "temperature", "between 0 and 100"},
    {R"({"temperature":"hot"})", "temperature", "must be a number"},
    {R"({"top_p":0})", "top_p", "above 0"},
    {R"({"top_p":1.0000001})", "top_p", "between 0 and 1"},
    {R"({"top_p":-1})", "top_p", "between 0 and 1"},
    {R"({"top_p":1e-60})", "top_p", "above 0"},
    {R"({"top_k":-2})", "top_k", "between -1"},
    {R"({"top_k":2147483648})", "top_k", "between -1"},
    {R"({"top_k":9223372036854775807})", "top_k", "between -1"},
    {R"({"min_p":1.5})", "min_p", "between 0 and 1"},
    {R"({"seed":18446744073709551616})", "seed", "between"},
    {R"({"seed":18446744073709551615})", "seed", "between"},
    {R"({"seed":"x"})", "seed", "must be an integer"},
    {R"({"stop":""})", "stop", "cannot contain an empty string"},
    {R"({"stop":["a",""]})", "stop", "cannot contain an empty string"},
    {R"({"stop":7})", "stop", "must be a string or an array"},
    {R"({"stop":["a",7]})", "stop", "must be a string or an array"},
    {R"({"stop_token_ids":"a"})", "stop_token_ids", "array of token ids"},
    {R"({"stop_token_ids":[1,-1]})", "stop_token_ids", "element 1"},
    {R"({"stop_token_ids":[2147483648]})", "stop_token_ids", "element 0"},
    {R"({"stop_token_ids":[1.5]})", "stop_token_ids", "element 0"},
    {R"({"ignore_eos":1})", "ignore_eos", "must be true or false"},
    {R"({"stream":"yes"})", "stream", "must be true or false"},
    {R"({"stream_options":{}})", "stream_options", "when stream is true"},
    {R"({"stream":true,"stream_options":7})", "stream_options", "an object"},
    {R"({"stream":true,"stream_options":{"include_usage":1}})",
     "stream_options.include_usage", "must be true or false"},
    {R"({"model":7})", "model", "must be a string"},
    {R"({"logit_bias":{"5":1}})", "logit_bias", "not supported yet"},
    {R"({"logit_bias":"x"})", "logit_bias", "not supported yet"},
    {R"({"presence_penalty":0.5})", "presence_penalty", "not supported yet"},
    {R"({"frequency_penalty":3})", "frequency_penalty", "not supported yet"},
    {R"({"repetition_penalty":1.1})", "repetition_penalty", "not supported"},
    {R"({"tools":[{"type":"function"}]})", "tools", "not supported yet"},
    {R"({"response_format":{"type":"json_object"}})", "response_format",
     "not supported yet"},
    {R"({"guided_regex":"a+"})", "guided_regex", "not supported yet"},
    {R"({"chat_template":"{{x}}"})", "chat_template", "not supported yet"},
    {R"({"prompt_logprobs":1})", "prompt_logprobs", "not supported yet"},
};

INSTANTIATE_TEST_SUITE_P(All, BadFieldTest, ::testing::ValuesIn(kBadFields),
                         [](const ::testing::TestParamInfo<BadField>& info) {
                           std::string name =
                               absl::StrCat(info.index, "_", info.param.param);
                           for (char& c : name) {
                             if (c == '.') c = '_';
                           }
                           return name;
                         });

TEST(GenerationParametersTest, BoundsStops) {
  nlohmann::json body;
  body["stop"] = std::vector<std::string>(17, "a");
  EXPECT_THAT(ParseGenerationParameters(body, ApiLimits()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("stop has at most 16 strings, got 17")));
  body["stop"] = std::string(1 << 20, 'a');
  EXPECT_THAT(ParseGenerationParameters(body, ApiLimits()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("at most 1024 bytes, got 1048576")));
  body["stop"] = "a";
  body["stop_token_ids"] = std::vector<int>(65, 1);
  EXPECT_THAT(ParseGenerationParameters(body, ApiLimits()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("at most 64 ids, got 65")));
}

TEST(GenerationParametersTest, RefusesAnEmptyModel) {
  EXPECT_THAT(Parse(R"({"model":""})"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace caravan::coordinator
