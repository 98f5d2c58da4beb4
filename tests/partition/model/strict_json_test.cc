#include "partition/model/strict_json.h"

#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(StrictJsonTest, BuildsWhatTheLenientParserBuilds) {
  const std::string text = R"( {"a": [1, -2, 2.5, "x\u00e9", true, null,
      {"b": {}, "c": [[], [3]]}], "b": {"a": 1}, "": 18446744073709551615} )";
  CARAVAN_ASSERT_OK_AND_ASSIGN(const nlohmann::json json,
                               ParseStrictJson(text, 5));
  EXPECT_EQ(json, nlohmann::json::parse(text));
}

TEST(StrictJsonTest, RefusesKeysThatOccurTwice) {
  EXPECT_THAT(ParseStrictJson(R"({"x": 1, "y": 2, "x": 1})", 4),
              StatusIs(kInvalid, HasSubstr("\"x\" occurs twice")));
  // By any spelling, and deep inside.
  EXPECT_THAT(ParseStrictJson(R"({"o": [{"x": 1, "\u0078": 2}]})", 4),
              StatusIs(kInvalid, HasSubstr("\"x\" occurs twice")));
}

TEST(StrictJsonTest, LimitsDepth) {
  CARAVAN_EXPECT_OK(ParseStrictJson(R"({"a": [[1]]})", 3));
  EXPECT_THAT(ParseStrictJson(R"({"a": [[[1]]]})", 3),
              StatusIs(kInvalid, HasSubstr("deeper than 3")));
  const std::string million(1000000, '[');
  EXPECT_THAT(ParseStrictJson("{\"a\":" + million, 3),
              StatusIs(kInvalid, HasSubstr("deeper than 3")));
}

TEST(StrictJsonTest, RefusesWhatIsNoJsonObject) {
  for (const char* text :
       {"", " ", "1", "[]", "null", "{", "{}{}", "{} x", "{\"a\" 1}",
        "{'a': 1}", "{\"a\": 1,}", "{\"a\": 01}", "{\"a\": NaN}",
        "{\"a\": 1e999}", "{\"a\": \"\xc3\"}", "{\"a\": \"\\ud800\"}",
        "// c\n{}"}) {
    EXPECT_THAT(ParseStrictJson(text, 4), StatusIs(kInvalid)) << text;
  }
}

}  // namespace
}  // namespace caravan::partition
