#include "partition/model/json_fields.h"

#include <optional>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(JsonFieldsTest, ReadsEveryType) {
  const nlohmann::json json = {{"integer", -3},
                               {"number", 2.5},
                               {"bool", true},
                               {"string", "x"},
                               {"ints", {1, 2}},
                               {"strings", {"a", "b"}},
                               {"object", nlohmann::json::object()}};
  const JsonFields fields(json);
  EXPECT_THAT(fields.Integer("integer"), IsOkAndHolds(Optional(-3)));
  EXPECT_THAT(fields.Number("number"), IsOkAndHolds(Optional(2.5)));
  EXPECT_THAT(fields.Number("integer"), IsOkAndHolds(Optional(-3.0)));
  EXPECT_THAT(fields.Bool("bool"), IsOkAndHolds(Optional(true)));
  EXPECT_THAT(fields.String("string"),
              IsOkAndHolds(Optional(std::string("x"))));
  EXPECT_THAT(fields.Integers("ints"),
              IsOkAndHolds(Optional(ElementsAre(1, 2))));
  EXPECT_THAT(fields.Integers("integer"),
              IsOkAndHolds(Optional(ElementsAre(-3))));
  EXPECT_THAT(fields.Strings("strings"),
              IsOkAndHolds(Optional(ElementsAre("a", "b"))));
  EXPECT_THAT(fields.Object("object"), IsOkAndHolds(&json["object"]));
  EXPECT_THAT(fields.RequiredInteger("integer"), IsOkAndHolds(-3));
  EXPECT_THAT(fields.RequiredNumber("integer"), IsOkAndHolds(-3.0));
}

TEST(JsonFieldsTest, AbsentAndNullHaveNoValue) {
  const nlohmann::json json = {{"null", nullptr}};
  const JsonFields fields(json, "outer.");
  EXPECT_TRUE(fields.Has("null"));
  EXPECT_FALSE(fields.Has("absent"));
  for (const char* name : {"null", "absent"}) {
    EXPECT_THAT(fields.Integer(name), IsOkAndHolds(std::nullopt));
    EXPECT_THAT(fields.Bool(name), IsOkAndHolds(std::nullopt));
    EXPECT_THAT(fields.Object(name), IsOkAndHolds(nullptr));
    EXPECT_THAT(fields.RequiredInteger(name),
                StatusIs(kInvalid, HasSubstr("outer.")));
    EXPECT_THAT(fields.RequiredNumber(name),
                StatusIs(kInvalid, HasSubstr(name)));
  }
}

TEST(JsonFieldsTest, AnotherTypeIsAnErrorThatNamesTheField) {
  const nlohmann::json json = {{"f", 1.0}, {"u", ~uint64_t{0}}, {"t", "1"}};
  const JsonFields fields(json, "outer.");
  const auto refuses = StatusIs(kInvalid, HasSubstr("field outer."));
  EXPECT_THAT(fields.Integer("f"), refuses);
  EXPECT_THAT(fields.Integer("u"), refuses);
  EXPECT_THAT(fields.Integer("t"), refuses);
  EXPECT_THAT(fields.Number("t"), refuses);
  EXPECT_THAT(fields.Bool("f"), refuses);
  EXPECT_THAT(fields.String("f"), refuses);
  EXPECT_THAT(fields.Integers("f"), refuses);
  EXPECT_THAT(fields.Strings("t"), refuses);
  EXPECT_THAT(fields.Object("t"), refuses);
}

}  // namespace
}  // namespace caravan::partition
