#include "coordinator/api/json_input.h"

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TEST(JsonInputTest, ReadsWhatJsonHas) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const nlohmann::json document,
      ParseJsonObject(R"({"a":[1,-2,2.5,true,null,"x\u00e9"],"b":{"c":{}}})",
                      ApiLimits()));
  EXPECT_EQ(document,
            nlohmann::json::parse(
                R"({"a":[1,-2,2.5,true,null,"x\u00e9"],"b":{"c":{}}})"));
}

struct BadInput {
  std::string text;
  std::string message;
};

TEST(JsonInputTest, RefusesByPlace) {
  const BadInput inputs[] = {
      {"", "empty"},
      {"[]", "must be a JSON object"},
      {"7", "must be a JSON object"},
      {"\"a\"", "must be a JSON object"},
      {"{", "not valid JSON at byte"},
      {R"({"a":1}x)", "not valid JSON at byte"},
      {R"({"a":1 /* b */})", "not valid JSON at byte"},
      {R"({"temperature":NaN})", "field 'temperature': not valid JSON"},
      {R"({"temperature":Infinity})", "field 'temperature'"},
      {R"({"temperature":1e999})", "field 'temperature': number 1e999 out of"},
      {R"({"top_p":-1e999})", "field 'top_p': number -1e999 out of range"},
      {"{\"prompt\":\"\xff\"}", "field 'prompt': not valid JSON"},
      {"{\"prompt\":\"\xc0\x80\"}", "field 'prompt'"},
      {R"({"prompt":"\ud800"})", "field 'prompt'"},
      {"{\"prompt\":\"a\nb\"}", "field 'prompt'"},
      {R"({"n":1,"n":2})", "key 'n' given twice"},
      {R"({"a":{"b":1,"b":1}})", "field 'a': key 'b' given twice"},
  };
  for (const BadInput& input : inputs) {
    EXPECT_THAT(
        ParseJsonObject(input.text, ApiLimits()),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(input.message)))
        << input.text;
  }
}

TEST(JsonInputTest, RefusesEveryTruncation) {
  const std::string whole = R"({"a":[1,{"b":"c"}],"d":-1.5e3,"e":false})";
  CARAVAN_EXPECT_OK(ParseJsonObject(whole, ApiLimits()));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(ParseJsonObject(whole.substr(0, length), ApiLimits()),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << length;
  }
}

TEST(JsonInputTest, BoundsDepth) {
  const auto nested = [](int depth) {
    return absl::StrCat("{\"a\":", std::string(depth - 1, '['),
                        std::string(depth - 1, ']'), "}");
  };
  CARAVAN_EXPECT_OK(ParseJsonObject(nested(64), ApiLimits()));
  EXPECT_THAT(ParseJsonObject(nested(65), ApiLimits()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("field 'a': nested deeper than 64")));
  EXPECT_THAT(
      ParseJsonObject("{\"a\":" + std::string(100000, '['), ApiLimits()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("deeper")));
}

TEST(JsonInputTest, BoundsValuesAndKeys) {
  ApiLimits limits;
  limits.max_json_values = 4;
  CARAVAN_EXPECT_OK(ParseJsonObject(R"({"a":[1,2,3]})", limits));
  EXPECT_THAT(ParseJsonObject(R"({"a":[1,2,3,4]})", limits),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("field 'a': more than 4 values")));
  limits.max_json_keys = 2;
  EXPECT_THAT(ParseJsonObject(R"({"a":1,"b":2,"c":3})", limits),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("more than 2 keys")));
}

}  // namespace
}  // namespace caravan::coordinator
