#include "partition/model/dequantize.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::partition {
namespace {

using ::testing::ElementsAreArray;

// float16: 0.5, -2, 0.25
const std::string kHalf("\x00\x38", 2);
const std::string kMinusTwo("\x00\xc0", 2);
const std::string kQuarter("\x00\x34", 2);

std::vector<float> Floats(GgufTensorType type, const std::string& blocks) {
  std::vector<float> out(blocks.size() / Facts(type).block_bytes * 32);
  Dequantize(type,
             {reinterpret_cast<const std::byte*>(blocks.data()), blocks.size()},
             absl::MakeSpan(out));
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

TEST(DequantizeTest, Q4_0) {
  std::vector<float> expected;
  for (float scale : {0.5f, -2.0f}) {
    for (int i = 0; i < 16; ++i) expected.push_back((i - 8) * scale);
    for (int i = 0; i < 16; ++i) expected.push_back((7 - i) * scale);
  }
  EXPECT_THAT(
      Floats(GgufTensorType::kQ4_0, kHalf + Nibbles() + kMinusTwo + Nibbles()),
      ElementsAreArray(expected));
}

TEST(DequantizeTest, Q4_1) {
  std::vector<float> expected;
  for (int i = 0; i < 16; ++i) expected.push_back(i * 0.25f - 2.0f);
  for (int i = 0; i < 16; ++i) expected.push_back((15 - i) * 0.25f - 2.0f);
  EXPECT_THAT(Floats(GgufTensorType::kQ4_1, kQuarter + kMinusTwo + Nibbles()),
              ElementsAreArray(expected));
}

TEST(DequantizeTest, Q8_0) {
  std::string quants;
  std::vector<float> expected;
  for (int i = 0; i < 32; ++i) {
    const int quant = i == 0 ? -128 : i == 31 ? 127 : 8 * i - 120;
    quants.push_back(static_cast<char>(quant));
    expected.push_back(quant * 0.5f);
  }
  EXPECT_THAT(Floats(GgufTensorType::kQ8_0, kHalf + quants),
              ElementsAreArray(expected));
}

}  // namespace
}  // namespace caravan::partition
