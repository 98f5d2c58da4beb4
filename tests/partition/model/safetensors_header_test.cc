#include "partition/model/safetensors_header.h"

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/partition/model/checkpoint_builder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using Code = absl::StatusCode;
using Json = nlohmann::json;

absl::StatusOr<SafetensorsHeader> Parse(std::string bytes) {
  return ReadSafetensorsHeader(*MemoryFile("x.safetensors", std::move(bytes)));
}

SafetensorsBuilder TwoTensors() {
  SafetensorsBuilder builder;
  builder.Tensor("b", "F32", {2, 3}, std::string(24, 'b'));
  builder.Tensor("a", "BF16", {5}, std::string(10, 'a'));
  return builder;
}

TEST(SafetensorsHeaderTest, ListsTensorsInTheOrderOfTheirData) {
  SafetensorsBuilder builder = TwoTensors();
  builder.header["__metadata__"] = {{"format", "pt"}};
  const std::string text = builder.header.dump() + "    ";  // padding
  const std::string bytes = builder.WithHeader(text);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const SafetensorsHeader header, Parse(bytes));
  EXPECT_EQ(header.text, text);
  ASSERT_EQ(header.tensors.size(), 2u);
  const SafetensorsTensor& b = header.tensors[0];
  const SafetensorsTensor& a = header.tensors[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.info.dtype(), DType::kFloat32);
  EXPECT_EQ(b.info.rows, 2);
  EXPECT_EQ(b.info.cols, 3);
  EXPECT_EQ(a.info.dtype(), DType::kBFloat16);
  EXPECT_EQ(a.info.rows, 1);
  EXPECT_EQ(a.info.cols, 5);
  EXPECT_EQ(bytes.substr(a.offset, a.bytes), "aaaaaaaaaa");
}

TEST(SafetensorsHeaderTest, EveryTruncationIsRefused) {
  const std::string bytes = TwoTensors().Build();
  CARAVAN_ASSERT_OK(Parse(bytes));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(Parse(bytes.substr(0, size)), StatusIs(Code::kDataLoss))
        << size;
  }
}

struct Refusal {
  std::string name;
  std::string bytes;
  Code code;
  std::string fragment;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

// TwoTensors() with fields of "a" replaced.
std::string WithA(const Json& changes) {
  SafetensorsBuilder builder = TwoTensors();
  builder.header["a"].update(changes);
  return builder.Build();
}
std::string WithoutInA(const std::string& field) {
  SafetensorsBuilder builder = TwoTensors();
  builder.header["a"].erase(field);
  return builder.Build();
}
std::string WithEntry(const std::string& name, const Json& value) {
  SafetensorsBuilder builder = TwoTensors();
  builder.header[name] = value;
  return builder.Build();
}
std::string Length(uint64_t length) {
  return std::string(reinterpret_cast<const char*>(&length), 8) +
         std::string(100, ' ');
}
Json Entry(const std::vector<int64_t>& shape, int64_t begin, int64_t end) {
  return {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, end}}};
}

std::vector<Refusal> Refusals() {
  const Code invalid = Code::kInvalidArgument;
  const Code loss = Code::kDataLoss;
  const int64_t huge = int64_t{1} << 62;
  const std::string repeated =
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  SafetensorsBuilder hole;
  hole.data = std::string(12, 'x');
  hole.header["a"] = Entry({1}, 0, 4);
  hole.header["b"] = Entry({1}, 8, 12);
  SafetensorsBuilder overlap;
  overlap.data = std::string(12, 'x');
  overlap.header["a"] = Entry({2}, 0, 8);
  overlap.header["b"] = Entry({2}, 4, 12);
  SafetensorsBuilder alias;
  alias.data = std::string(8, 'x');
  alias.header["a"] = Entry({2}, 0, 8);
  alias.header["b"] = Entry({2}, 0, 8);
  SafetensorsBuilder late;
  late.data = std::string(8, 'x');
  late.header["a"] = Entry({1}, 4, 8);
  SafetensorsBuilder small;
  small.data = std::string(4, 'x');
  return {
      {"length_huge", Length(~uint64_t{0}), invalid, "at most 16777216"},
      {"length_over_limit", Length((16 << 20) + 1), invalid, "at most"},
      {"length_over_file", Length(101), loss, "its header has 101 bytes"},
      {"length_zero", Length(0), invalid, "begin with {"},
      {"begins_with_space", small.WithHeader(" {}"), invalid, "begin with {"},
      {"not_json", small.WithHeader("{,}"), invalid, "not valid JSON"},
      {"not_utf8", small.WithHeader("{\"\xff\": 1}"), invalid,
       "not valid JSON"},
      {"bytes_after_object", small.WithHeader("{} {}"), invalid,
       "not valid JSON"},
      {"too_deep", small.WithHeader(R"({"a":{"b":{"c":{"d":{}}}}})"), invalid,
       "deeper than 4"},
      {"name_twice", small.WithHeader(repeated), invalid, "\"a\" occurs twice"},
      {"no_tensor", small.WithHeader("{}"), invalid, "ends at"},
      {"metadata_text", WithEntry("__metadata__", "pt"), invalid,
       "__metadata__ must be an object"},
      {"metadata_number", WithEntry("__metadata__", {{"n", 1}}), invalid,
       "\"n\" must be a string"},
      {"name_empty", WithEntry("", Entry({1}, 34, 38)), invalid,
       "name has 0 bytes"},
      {"name_long", WithEntry(std::string(257, 'n'), Entry({1}, 34, 38)),
       invalid, "name has 257 bytes"},
      {"entry_text", WithEntry("c", "text"), invalid,
       "\"c\": must be an object"},
      {"no_dtype", WithoutInA("dtype"), invalid, "\"a\": field dtype"},
      {"no_shape", WithoutInA("shape"), invalid, "\"a\": field shape"},
      {"no_offsets", WithoutInA("data_offsets"), invalid,
       "\"a\": field data_offsets"},
      {"more_fields", WithA({{"stride", 1}}), invalid, "fields besides"},
      {"dtype_integer", WithA({{"dtype", "I64"}}), Code::kUnimplemented,
       "\"a\": dtype \"I64\""},
      {"dtype_float8", WithA({{"dtype", "F8_E4M3"}}), Code::kUnimplemented,
       "F8_E4M3"},
      {"dtype_number", WithA({{"dtype", 3}}), invalid, "dtype"},
      {"shape_number", WithA({{"shape", 5}}), invalid, "shape"},
      {"shape_float", WithA({{"shape", {5.0}}}), invalid, "shape"},
      {"shape_negative", WithA({{"shape", {-5}}}), invalid,
       "dimension of shape is -5"},
      {"shape_zero", WithA({{"shape", {5, 0}}}), invalid,
       "dimension of shape is 0"},
      {"shape_scalar", WithA({{"shape", Json::array()}}), Code::kUnimplemented,
       "0 dimensions"},
      {"shape_cube", WithA({{"shape", {5, 1, 1}}}), Code::kUnimplemented,
       "3 dimensions"},
      {"shape_overflows", WithA({{"shape", {huge, 4}}}), invalid,
       "\"a\": size out of range"},
      {"bytes_overflow", WithA({{"shape", {huge}}}), invalid,
       "\"a\": size out of range"},
      {"size_differs", WithA({{"shape", {6}}}), invalid,
       "take 12 bytes, its data_offsets hold 10"},
      {"offsets_one", WithA({{"data_offsets", {24}}}), invalid,
       "a begin and an end"},
      {"offsets_reversed", WithA({{"data_offsets", {34, 24}}}), invalid,
       "in this order"},
      {"offsets_negative", WithA({{"data_offsets", {-10, 0}}}), invalid,
       "in this order"},
      {"offsets_huge",
       WithA({{"data_offsets", {~uint64_t{0} - 10, ~uint64_t{0}}}}), invalid,
       "data_offsets"},
      {"hole", hole.Build(), invalid, "\"b\": data begins at 8, must at 4"},
      {"overlap", overlap.Build(), invalid, "\"b\": data begins at 4"},
      {"alias", alias.Build(), invalid, "\"b\": data begins at 0, must at 8"},
      {"begins_late", late.Build(), invalid, "\"a\": data begins at 4"},
      {"ends_after_file", WithEntry("c", Entry({1000}, 34, 4034)), loss,
       "\"c\": 4000 bytes"},
      {"bytes_after_data", TwoTensors().Build() + "x", invalid,
       "its last tensor ends at"},
  };
}

class SafetensorsRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(SafetensorsRefusalTest, NamesTensorAndReason) {
  EXPECT_THAT(Parse(GetParam().bytes),
              StatusIs(GetParam().code, HasSubstr(GetParam().fragment)));
}

INSTANTIATE_TEST_SUITE_P(All, SafetensorsRefusalTest,
                         ::testing::ValuesIn(Refusals()),
                         [](const ::testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace caravan::partition
