#include "partition/model/gguf_file.h"

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/partition/model/gguf_builder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

absl::StatusOr<std::unique_ptr<GgufFile>> Parse(std::string bytes) {
  return GgufFile::Parse(MemoryFile("test.gguf", std::move(bytes)));
}
absl::StatusOr<std::unique_ptr<GgufFile>> Parse(const GgufBuilder& builder) {
  return Parse(builder.Build());
}

std::string Array(uint32_t type, uint64_t count, const std::string& bytes) {
  return Bytes(type) + Bytes(count) + bytes;
}

TEST(GgufFileTest, ReadsMetadataOfEveryType) {
  GgufBuilder builder;
  builder.Key("u8", 0, Bytes<uint8_t>(200))
      .Key("i8", 1, Bytes<int8_t>(-3))
      .Key("u16", 2, Bytes<uint16_t>(60000))
      .Key("i16", 3, Bytes<int16_t>(-300))
      .Key("u32", 4, Bytes<uint32_t>(4000000000u))
      .Key("i32", 5, Bytes<int32_t>(-70000))
      .Key("f32", 6, Bytes<float>(0.5f))
      .Key("bool", 7, Bytes<uint8_t>(1))
      .Key("string", 8, GgufString("h\xc3\xa9"))
      .Key("u64", 10, Bytes<uint64_t>(1) + "")
      .Key("huge", 10, Bytes<uint64_t>(~uint64_t{0}))
      .Key("i64", 11, Bytes<int64_t>(-5))
      .Key("f64", 12, Bytes<double>(0.1))
      .Key("ints", 9, Array(5, 2, Bytes<int32_t>(7) + Bytes<int32_t>(-8)))
      .Key("bools", 9, Array(7, 2, Bytes<uint8_t>(1) + Bytes<uint8_t>(0)))
      .Key("floats", 9, Array(6, 1, Bytes<float>(-2.0f)))
      .Key("empty", 9, Array(6, 0, ""))
      .Strings("strings", {"a", "", "bc"});
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto file, Parse(builder));
  EXPECT_THAT(file->Integer("u8"), IsOkAndHolds(200));
  EXPECT_THAT(file->Integer("i8"), IsOkAndHolds(-3));
  EXPECT_THAT(file->Integer("u16"), IsOkAndHolds(60000));
  EXPECT_THAT(file->Integer("i16"), IsOkAndHolds(-300));
  EXPECT_THAT(file->Integer("u32"), IsOkAndHolds(4000000000));
  EXPECT_THAT(file->Integer("i32"), IsOkAndHolds(-70000));
  EXPECT_THAT(file->Integer("u64"), IsOkAndHolds(1));
  EXPECT_THAT(file->Integer("i64"), IsOkAndHolds(-5));
  EXPECT_THAT(file->Float("f32"), IsOkAndHolds(0.5));
  EXPECT_THAT(file->Float("f64"), IsOkAndHolds(0.1));
  EXPECT_THAT(file->Float("u8"), IsOkAndHolds(200.0));
  EXPECT_THAT(file->Bool("bool"), IsOkAndHolds(true));
  EXPECT_THAT(file->String("string"),
              IsOkAndHolds(absl::string_view("h\xc3\xa9")));
  EXPECT_THAT(file->Integers("ints"), IsOkAndHolds(ElementsAre(7, -8)));
  EXPECT_THAT(file->Integers("bools"), IsOkAndHolds(ElementsAre(1, 0)));
  EXPECT_THAT(file->Floats("floats"), IsOkAndHolds(ElementsAre(-2.0)));
  EXPECT_THAT(file->Floats("empty"), IsOkAndHolds(ElementsAre()));
  EXPECT_THAT(file->Strings("strings"),
              IsOkAndHolds(ElementsAre("a", "", "bc")));

  EXPECT_TRUE(file->Has("u8"));
  EXPECT_FALSE(file->Has("U8"));
  EXPECT_THAT(file->Integer("none"),
              StatusIs(Code::kNotFound,
                       AllOf(HasSubstr("test.gguf"), HasSubstr("\"none\""))));
  EXPECT_THAT(file->Integer("string"),
              StatusIs(Code::kInvalidArgument, HasSubstr("an integer")));
  EXPECT_THAT(file->Integer("huge"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(file->String("u8"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(file->Bool("u8"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(file->Float("ints"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(file->Strings("ints"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(file->Integers("floats"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(file->Floats("ints"), StatusIs(Code::kInvalidArgument));
}

TEST(GgufFileTest, ReadsTheTableOfTensors) {
  for (uint64_t alignment : {8u, 32u, 4096u}) {
    GgufBuilder builder;
    builder.alignment = alignment;
    builder.version = alignment == 8 ? 2 : 3;
    builder.Uint32("general.alignment", alignment)
        .Tensor("a", {3}, 0, std::string(12, 'a'))
        .Tensor("b", {32, 2}, 2, std::string(36, 'b'))
        .Tensor("c", {4, 2, 3}, 1, std::string(48, 'c'));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto file, Parse(builder));
    ASSERT_EQ(file->tensors().size(), 3u);
    const GgufTensor* a = file->FindTensor("a");
    const GgufTensor* b = file->FindTensor("b");
    const GgufTensor* c = file->FindTensor("c");
    ASSERT_TRUE(a != nullptr && b != nullptr && c != nullptr);
    EXPECT_EQ(a->rows, 1);
    EXPECT_EQ(a->cols, 3);
    EXPECT_EQ(a->offset, file->data_begin());
    EXPECT_EQ(b->rows, 2);
    EXPECT_EQ(b->cols, 32);
    EXPECT_EQ(b->bytes, 36);
    EXPECT_EQ(b->format, WeightFormat::kQ4);
    EXPECT_EQ(c->rows, 6);
    EXPECT_EQ(c->cols, 4);
    std::byte first;
    CARAVAN_ASSERT_OK(file->file().Read(c->offset, {&first, 1}));
    EXPECT_EQ(static_cast<char>(first), 'c');
    EXPECT_EQ(file->FindTensor("d"), nullptr);
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

std::string Cut(const GgufBuilder& builder, size_t from_end) {
  const std::string bytes = builder.Build();
  return bytes.substr(0, bytes.size() - from_end);
}

GgufBuilder Started(uint32_t magic, uint32_t version) {
  GgufBuilder builder;
  builder.magic = magic;
  builder.version = version;
  return builder;
}
constexpr uint32_t kMagic = 0x46554747;

GgufBuilder OneTensor(const std::vector<uint64_t>& sizes, uint32_t type,
                      size_t bytes) {
  return GgufBuilder().Tensor("t", sizes, type, std::string(bytes, 'x'));
}

GgufBuilder Counts(uint64_t keys, uint64_t tensors) {
  GgufBuilder builder;
  builder.extra_keys = keys;
  builder.extra_tensors = tensors;
  return builder;
}

std::vector<Refusal> Refusals() {
  constexpr uint64_t kHuge = ~uint64_t{0};
  const std::string four(4, 'x');
  return {
      {"empty", "", Code::kDataLoss, "ends early"},
      {"magic", Started(0x46554748, 3).Build(), Code::kInvalidArgument,
       "not a GGUF"},
      {"version_1", Started(kMagic, 1).Build(), Code::kUnimplemented,
       "version 1"},
      {"version_9", Started(kMagic, 9).Build(), Code::kUnimplemented,
       "version 9"},
      {"big_endian", Started(kMagic, 0x03000000).Build(), Code::kUnimplemented,
       "big-endian"},
      {"counts_cut", Started(kMagic, 3).Build().substr(0, 20), Code::kDataLoss,
       "metadata keys"},
      {"key_count", Counts(kHuge, 0).Build(), Code::kDataLoss, "metadata keys"},
      {"tensor_count", Counts(0, kHuge).Build(), Code::kDataLoss, "tensors"},
      {"many_tensors", Counts(0, 70000).Build() + std::string(70000 * 32, '\0'),
       Code::kInvalidArgument, "70000, at most 65536"},
      {"key_missing", Counts(1, 0).Build(), Code::kDataLoss, "metadata key"},
      {"key_long", GgufBuilder().Uint32(std::string(300, 'k'), 1).Build(),
       Code::kInvalidArgument, "300 bytes"},
      {"key_empty", GgufBuilder().Uint32("", 1).Build(), Code::kInvalidArgument,
       "empty"},
      {"key_characters", GgufBuilder().Uint32("a\nb", 1).Build(),
       Code::kInvalidArgument, "a\\nb"},
      {"key_twice", GgufBuilder().Uint32("k", 1).Uint32("k", 2).Build(),
       Code::kInvalidArgument, "\"k\" occurs twice"},
      {"value_type", GgufBuilder().Key("k", 13, four).Build(),
       Code::kInvalidArgument, "\"k\": no value type has the number 13"},
      {"string_length", GgufBuilder().Key("k", 8, Bytes(kHuge)).Build(),
       Code::kDataLoss, "\"k\""},
      {"bool_value", GgufBuilder().Key("k", 7, Bytes<uint8_t>(2)).Build(),
       Code::kInvalidArgument, "a bool must be 0 or 1, is 2"},
      {"array_count", GgufBuilder().Key("k", 9, Array(8, kHuge, "")).Build(),
       Code::kDataLoss, "\"k\""},
      {"array_count_wraps",
       GgufBuilder().Key("k", 9, Array(8, uint64_t{1} << 61, "")).Build(),
       Code::kDataLoss, "\"k\""},
      {"array_element",
       GgufBuilder().Key("k", 9, Array(10, 1, Bytes(kHuge))).Build(),
       Code::kInvalidArgument, "2^63"},
      {"array_nested",
       GgufBuilder().Key("k", 9, Array(9, 1, Array(0, 1, "x"))).Build(),
       Code::kInvalidArgument, "arrays in arrays"},
      {"array_long",
       GgufBuilder()
           .Key("k", 9,
                Array(0, (1u << 23) + 1, std::string((1u << 23) + 1, 'x')))
           .Build(),
       Code::kInvalidArgument, "array elements"},
      {"alignment_zero", GgufBuilder().Uint32("general.alignment", 0).Build(),
       Code::kInvalidArgument, "general.alignment"},
      {"alignment_odd", GgufBuilder().Uint32("general.alignment", 24).Build(),
       Code::kInvalidArgument, "is 24"},
      {"alignment_huge",
       GgufBuilder().Uint32("general.alignment", 1u << 31).Build(),
       Code::kInvalidArgument, "general.alignment"},
      {"alignment_text", GgufBuilder().String("general.alignment", "x").Build(),
       Code::kInvalidArgument, "general.alignment"},
      {"tensor_name_long",
       GgufBuilder().Tensor(std::string(257, 't'), {1}, 0, four).Build(),
       Code::kInvalidArgument, "tensor 0: a string of 257"},
      {"tensor_twice",
       GgufBuilder()
           .Tensor("t", {1}, 0, four)
           .Tensor("t", {1}, 0, four)
           .Build(),
       Code::kInvalidArgument, "\"t\" occurs twice"},
      {"no_dimensions", OneTensor({}, 0, 4).Build(), Code::kInvalidArgument,
       "0 dimensions"},
      {"five_dimensions", OneTensor({1, 1, 1, 1, 1}, 0, 4).Build(),
       Code::kInvalidArgument, "5 dimensions"},
      {"dimension_zero", OneTensor({4, 0}, 0, 0).Build(),
       Code::kInvalidArgument, "dimension 1 is 0"},
      {"dimension_negative", OneTensor({kHuge}, 0, 4).Build(),
       Code::kInvalidArgument, "dimension 0"},
      {"product_overflows",
       OneTensor({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 4).Build(),
       Code::kInvalidArgument, "\"t\": size out of range"},
      {"bytes_overflow", OneTensor({uint64_t{1} << 62}, 0, 4).Build(),
       Code::kInvalidArgument, "\"t\": size out of range"},
      {"type_unsupported", OneTensor({256}, 14, 210).Build(),
       Code::kUnimplemented, "\"t\": tensor type Q6_K"},
      {"type_unknown", OneTensor({1}, 999, 4).Build(), Code::kInvalidArgument,
       "999"},
      {"blocks_broken", OneTensor({33}, 8, 36).Build(), Code::kInvalidArgument,
       "blocks of 32"},
      {"offset_not_zero", GgufBuilder().TensorAt("t", {1}, 0, 32, four).Build(),
       Code::kInvalidArgument, "\"t\": offset 32, must be 0"},
      {"offset_negative",
       GgufBuilder().TensorAt("t", {1}, 0, kHuge, four).Build(),
       Code::kInvalidArgument, "offset"},
      {"offsets_alias",
       GgufBuilder()
           .Tensor("t", {1}, 0, four)
           .TensorAt("u", {1}, 0, 0, four)
           .Build(),
       Code::kInvalidArgument, "\"u\": offset 0, must be 32"},
      {"data_cut", Cut(OneTensor({64}, 0, 256), 32), Code::kDataLoss,
       "\"t\": 256 bytes at"},
      {"data_after", OneTensor({64}, 0, 256).Build() + "more",
       Code::kInvalidArgument, "its last tensor ends at"},
  };
}

class GgufRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(GgufRefusalTest, NamesFileAndReason) {
  EXPECT_THAT(Parse(GetParam().bytes),
              StatusIs(GetParam().code, AllOf(HasSubstr("test.gguf: "),
                                              HasSubstr(GetParam().fragment))));
}

INSTANTIATE_TEST_SUITE_P(All, GgufRefusalTest, ::testing::ValuesIn(Refusals()),
                         [](const ::testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

TEST(GgufFileTest, EveryTruncationIsRefused) {
  GgufBuilder builder;
  builder.Uint32("a", 1)
      .String("b", "text")
      .Strings("c", {"x", "yz"})
      .Tensor("t", {8}, 0, std::string(32, 'x'));
  const std::string bytes = builder.Build();
  CARAVAN_ASSERT_OK(Parse(bytes));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(Parse(bytes.substr(0, size)), StatusIs(Code::kDataLoss))
        << size;
  }
}

}  // namespace
}  // namespace caravan::partition
