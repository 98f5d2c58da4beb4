#include "base/weight_format.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

constexpr WeightFormat kAll[] = {
    WeightFormat::kFloat32, WeightFormat::kFloat16, WeightFormat::kBFloat16,
    WeightFormat::kQ8,      WeightFormat::kQ4,      WeightFormat::kQ4Minimum};
constexpr WeightFormat kQuantized[] = {WeightFormat::kQ8, WeightFormat::kQ4,
                                       WeightFormat::kQ4Minimum};

// float16: 0.5, -2, 0.25
const std::string kHalf("\x00\x38", 2);
const std::string kMinusTwo("\x00\xc0", 2);
const std::string kQuarter("\x00\x34", 2);

absl::Span<const std::byte> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

int64_t Elements(WeightFormat format, size_t bytes) {
  return static_cast<int64_t>(bytes) / BlockBytes(format) * BlockSize(format);
}

std::vector<float> Floats(WeightFormat format,
                          absl::Span<const std::byte> blocks) {
  std::vector<float> out(Elements(format, blocks.size()));
  Decode(format, blocks, absl::MakeSpan(out));
  return out;
}

std::vector<std::byte> Encoded(WeightFormat format,
                               const std::vector<float>& values) {
  std::vector<std::byte> out(
      ByteSize(format, static_cast<int64_t>(values.size())));
  CARAVAN_EXPECT_OK(Encode(format, values, absl::MakeSpan(out)));
  return out;
}

absl::StatusOr<std::vector<std::byte>> Converted(
    WeightFormat from, absl::Span<const std::byte> blocks, WeightFormat to) {
  std::vector<std::byte> out(ByteSize(to, Elements(from, blocks.size())));
  const absl::Status status = Convert(from, blocks, to, absl::MakeSpan(out));
  if (!status.ok()) return status;
  return out;
}

// Byte i of 16: low four bits i, high four bits 15 - i.
std::string Nibbles() {
  std::string bytes;
  for (int i = 0; i < 16; ++i) {
    bytes.push_back(static_cast<char>(i | ((15 - i) << 4)));
  }
  return bytes;
}

std::vector<float> RandomValues(int count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// A block with every value v but its first ones.
std::vector<float> BlockOf(float v, std::vector<float> first = {}) {
  first.resize(kBlockElements, v);
  return first;
}

TEST(WeightFormatTest, KnowsItsSizes) {
  for (WeightFormat format : kAll) {
    EXPECT_FALSE(Name(format).empty());
    EXPECT_EQ(BlockSize(format), IsQuantized(format) ? 32 : 1);
    EXPECT_EQ(ByteSize(format, 64) * BlockSize(format),
              64 * BlockBytes(format));
  }
  EXPECT_EQ(ByteSize(WeightFormat::kBFloat16, 3), 6);
  EXPECT_EQ(ByteSize(WeightFormat::kQ8, 64), 68);
  EXPECT_EQ(ByteSize(WeightFormat::kQ4, 64), 36);
  EXPECT_EQ(ByteSize(WeightFormat::kQ4Minimum, 64), 40);
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    EXPECT_EQ(Name(FormatOf(dtype)), Name(dtype));
    EXPECT_EQ(DecodedDType(FormatOf(dtype)), dtype);
    EXPECT_EQ(ByteSize(FormatOf(dtype), 1), ByteSize(dtype));
  }
}

TEST(WeightFormatTest, DecodesQ4) {
  std::vector<float> expected;
  for (float scale : {0.5f, -2.0f}) {
    for (int i = 0; i < 16; ++i) expected.push_back((i - 8) * scale);
    for (int i = 0; i < 16; ++i) expected.push_back((7 - i) * scale);
  }
  EXPECT_THAT(Floats(WeightFormat::kQ4,
                     BytesOf(kHalf + Nibbles() + kMinusTwo + Nibbles())),
              ElementsAreArray(expected));
}

TEST(WeightFormatTest, DecodesQ4WithMinimum) {
  std::vector<float> expected;
  for (int i = 0; i < 16; ++i) expected.push_back(i * 0.25f - 2.0f);
  for (int i = 0; i < 16; ++i) expected.push_back((15 - i) * 0.25f - 2.0f);
  EXPECT_THAT(Floats(WeightFormat::kQ4Minimum,
                     BytesOf(kQuarter + kMinusTwo + Nibbles())),
              ElementsAreArray(expected));
}

TEST(WeightFormatTest, DecodesQ8) {
  std::string quants;
  std::vector<float> expected;
  for (int i = 0; i < 32; ++i) {
    const int quant = i == 0 ? -128 : i == 31 ? 127 : 8 * i - 120;
    quants.push_back(static_cast<char>(quant));
    expected.push_back(quant * 0.5f);
  }
  EXPECT_THAT(Floats(WeightFormat::kQ8, BytesOf(kHalf + quants)),
              ElementsAreArray(expected));
}

// By hand from the rules, with scales that float16 holds.
TEST(WeightFormatTest, EncodesByTheUsualRule) {
  const std::vector<float> q8 = Floats(
      WeightFormat::kQ8,
      Encoded(WeightFormat::kQ8, BlockOf(0, {-63.5f, 0.25f, -0.25f, 0.2f})));
  EXPECT_THAT(q8, ElementsAreArray(BlockOf(0, {-63.5f, 0.5f, -0.5f, 0})));
  // -4 is the first of the largest magnitude: 4 would be 8 and becomes 7.
  const std::vector<float> q4 =
      Floats(WeightFormat::kQ4,
             Encoded(WeightFormat::kQ4, BlockOf(0, {-4, 4, 0.25f, -0.25f, 3})));
  EXPECT_THAT(q4, ElementsAreArray(BlockOf(0, {-4, 3.5f, 0.5f, 0, 3})));
  const std::vector<float> with_minimum =
      Floats(WeightFormat::kQ4Minimum,
             Encoded(WeightFormat::kQ4Minimum,
                     BlockOf(-2, {5.5f, -1.75f, 0.1f, 5.2f})));
  EXPECT_THAT(with_minimum, ElementsAreArray(BlockOf(-2, {5.5f, -1.5f, 0, 5})));
}

TEST(WeightFormatTest, EncodingErrsByAPartOfTheLargestValue) {
  const std::vector<float> values = RandomValues(32 * 200, 1);
  for (const auto& [format, part] : {std::pair(WeightFormat::kQ8, 0.5 / 127),
                                     {WeightFormat::kQ4, 1.0 / 8},
                                     {WeightFormat::kQ4Minimum, 1.0 / 15}}) {
    const std::vector<float> decoded = Floats(format, Encoded(format, values));
    for (size_t block = 0; block < values.size(); block += 32) {
      double largest = 0;
      for (size_t i = block; i < block + 32; ++i) {
        largest = std::max<double>(largest, std::abs(values[i]));
      }
      for (size_t i = block; i < block + 32; ++i) {
        ASSERT_NEAR(decoded[i], values[i], (part + 1e-3) * largest)
            << Name(format) << " at " << i;
      }
    }
  }
}

TEST(WeightFormatTest, WhatIsQuantizedOnceStays) {
  // (Not with a minimum: what is 15 d above it may be a rounding off.)
  for (WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ4}) {
    const std::vector<float> values =
        Floats(format, Encoded(format, RandomValues(32 * 50, 2)));
    EXPECT_EQ(Floats(format, Encoded(format, values)), values) << Name(format);
  }
}

TEST(WeightFormatTest, EncodesTheSmallestBlocks) {
  constexpr float kLeastScale = 0x1p-24f;  // a subnormal float16
  for (WeightFormat format : kQuantized) {
    SCOPED_TRACE(Name(format));
    EXPECT_THAT(Floats(format, Encoded(format, BlockOf(0))), Each(0.0f));
    EXPECT_THAT(Floats(format, Encoded(format, BlockOf(1e-30f, {-1e-40f}))),
                Each(0.0f));
  }
  EXPECT_THAT(Floats(WeightFormat::kQ8,
                     Encoded(WeightFormat::kQ8, BlockOf(127 * kLeastScale))),
              Each(127 * kLeastScale));
  EXPECT_THAT(Floats(WeightFormat::kQ4,
                     Encoded(WeightFormat::kQ4, BlockOf(-8 * kLeastScale))),
              Each(-8 * kLeastScale));
}

TEST(WeightFormatTest, RefusesWhatNoBlockHolds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (WeightFormat format : kQuantized) {
    std::vector<std::byte> out(BlockBytes(format));
    for (float value : {kInfinity, -kInfinity, std::nanf(""), 1e30f}) {
      EXPECT_THAT(
          Encode(format, BlockOf(0, {1, value, 2}), absl::MakeSpan(out)),
          StatusIs(Code::kInvalidArgument,
                   HasSubstr(std::string(Name(format)))))
          << value;
    }
  }
  std::vector<std::byte> out(BlockBytes(WeightFormat::kQ4Minimum));
  EXPECT_THAT(
      Encode(WeightFormat::kQ4Minimum, BlockOf(-1e6f), absl::MakeSpan(out)),
      StatusIs(Code::kInvalidArgument, HasSubstr("-1e+06")));
}

TEST(WeightFormatTest, ConvertsAsDecodingAndEncodingDo) {
  const std::vector<float> values = RandomValues(32 * 40, 3);
  for (WeightFormat from : kAll) {
    const std::vector<std::byte> blocks = Encoded(from, values);
    const std::vector<float> decoded = Floats(from, blocks);
    for (WeightFormat to : kAll) {
      SCOPED_TRACE(::testing::Message() << Name(from) << " to " << Name(to));
      CARAVAN_ASSERT_OK_AND_ASSIGN(const std::vector<std::byte> converted,
                                   Converted(from, blocks, to));
      if (ConvertsExactly(from, to)) {
        EXPECT_EQ(Floats(to, converted), decoded);
      } else {
        EXPECT_EQ(converted, Encoded(to, decoded));
      }
    }
  }
}

TEST(WeightFormatTest, ConvertsExactlyWhereItSaysSo) {
  using enum WeightFormat;
  for (WeightFormat format : kAll) {
    EXPECT_TRUE(ConvertsExactly(format, format));
    EXPECT_TRUE(ConvertsExactly(format, kFloat32));
    EXPECT_EQ(ConvertsExactly(format, kQ8), format == kQ8 || format == kQ4);
    EXPECT_EQ(ConvertsExactly(format, kBFloat16), format == kBFloat16);
  }
  EXPECT_TRUE(ConvertsExactly(kQ4, kQ4Minimum));
  EXPECT_FALSE(ConvertsExactly(kQ4Minimum, kQ4));
}

TEST(WeightFormatTest, RefusesAScaleWhoseMinimumOverflows) {
  // float16 65504: as q8 it stays, eight times it is no float16.
  const std::string block = std::string("\xff\x7b", 2) + Nibbles();
  CARAVAN_EXPECT_OK(
      Converted(WeightFormat::kQ4, BytesOf(block), WeightFormat::kQ8));
  EXPECT_THAT(
      Converted(WeightFormat::kQ4, BytesOf(block), WeightFormat::kQ4Minimum),
      StatusIs(Code::kInvalidArgument, HasSubstr("-524032")));
}

}  // namespace
}  // namespace caravan
