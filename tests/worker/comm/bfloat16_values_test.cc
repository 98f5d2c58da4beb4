#include "worker/comm/bfloat16_values.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::vector<uint16_t> Rounded(const std::vector<float>& values) {
  std::vector<uint16_t> rounded(values.size());
  RoundToBFloat16(values, absl::MakeSpan(rounded));
  return rounded;
}

// Over all exponents and signs, with every kind of rest that is cut off.
TEST(BFloat16ValuesTest, RoundsAsBase) {
  std::vector<float> values;
  for (uint32_t high = 0; high < 0x10000; high += 7) {
    for (const uint32_t low :
         {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float value = std::bit_cast<float>(high << 16 | low);
      if (!std::isnan(value)) values.push_back(value);
    }
  }
  const std::vector<uint16_t> rounded = Rounded(values);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(rounded[i], FloatToBFloat16(values[i])) << values[i];
  }
}

TEST(BFloat16ValuesTest, NoNumberIsOneNumber) {
  EXPECT_THAT(Rounded({std::nanf("1"), -std::nanf("2"),
                       std::bit_cast<float>(0x7f800001u),
                       std::numeric_limits<float>::quiet_NaN()}),
              Each(0x7fff));
}

TEST(BFloat16ValuesTest, TheLargestRoundsToInfinity) {
  constexpr float kMost = std::numeric_limits<float>::max();
  EXPECT_THAT(Rounded({kMost, -kMost}), ElementsAre(0x7f80, 0xff80));
}

TEST(BFloat16ValuesTest, WideningIsExact) {
  std::vector<uint16_t> rounded(0x10000);
  for (size_t i = 0; i < rounded.size(); ++i) {
    rounded[i] = static_cast<uint16_t>(i);
  }
  std::vector<float> values(rounded.size());
  WidenBFloat16(rounded, absl::MakeSpan(values));
  for (size_t i = 0; i < rounded.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), i << 16);
  }
}

}  // namespace
}  // namespace caravan::worker
