#include "coordinator/api/field_reader.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using nlohmann::json;
using ::testing::HasSubstr;

TEST(FieldReaderTest, NullIsAbsent) {
  const json object = json::parse(R"({"a":null})");
  const FieldReader fields(object);
  EXPECT_EQ(fields.Find("a"), nullptr);
  EXPECT_EQ(fields.Find("b"), nullptr);
  EXPECT_FALSE(fields.Integer("a", 0, 1)->has_value());
  EXPECT_FALSE(fields.Number("b", 0, 1)->has_value());
  EXPECT_FALSE(fields.Boolean("a")->has_value());
  EXPECT_EQ(*fields.String("a"), nullptr);
  EXPECT_EQ(*fields.Object("b"), nullptr);
}

TEST(FieldReaderTest, BoundsAreInclusive) {
  const json object = json::parse(R"({"i":5,"f":5.0,"x":0.5})");
  const FieldReader fields(object);
  EXPECT_EQ(*fields.Integer("i", 5, 5), 5);
  EXPECT_EQ(*fields.Integer("f", 5, 5), 5);
  EXPECT_EQ(*fields.Number("x", 0.5, 0.5), 0.5);
  EXPECT_THAT(fields.Integer("i", 6, 7),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("i must be between 6 and 7, got 5")));
  EXPECT_THAT(fields.Number("x", 1, 2),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("x must be between 1 and 2, got 0.5")));
}

TEST(FieldReaderTest, PutsThePrefixBeforeNames) {
  const json object = json::parse(R"({"a":1})");
  EXPECT_THAT(FieldReader(object, "outer.").String("a"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("outer.a must be a string")));
}

TEST(AsIntegerTest, TakesWhatAnIntegerCanHold) {
  EXPECT_EQ(AsInteger(json(-3)), -3);
  EXPECT_EQ(AsInteger(json(3.0)), 3);
  EXPECT_EQ(AsInteger(json(-0.0)), 0);
  EXPECT_EQ(AsInteger(json(std::numeric_limits<int64_t>::max())),
            std::numeric_limits<int64_t>::max());
  EXPECT_FALSE(AsInteger(json(uint64_t{1} << 63)).has_value());
  EXPECT_FALSE(AsInteger(json(0.5)).has_value());
  EXPECT_FALSE(AsInteger(json(1e300)).has_value());
  EXPECT_FALSE(AsInteger(json("3")).has_value());
  EXPECT_FALSE(AsInteger(json(true)).has_value());
}

}  // namespace
}  // namespace caravan::coordinator
