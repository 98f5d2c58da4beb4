#include "base/dtype.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace caravan {
namespace {

TEST(DTypeTest, Float16RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = Float16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(FloatToFloat16(value), bits) << "bits=" << bits;
  }
}

TEST(DTypeTest, BFloat16RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = BFloat16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(FloatToBFloat16(value), bits) << "bits=" << bits;
  }
}

TEST(DTypeTest, NarrowingRoundsToNearestEven) {
  EXPECT_EQ(Float16ToFloat(FloatToFloat16(1.0f + 0x1p-11f)), 1.0f);
  EXPECT_EQ(Float16ToFloat(FloatToFloat16(1.0f + 3 * 0x1p-11f)),
            1.0f + 0x1p-9f);
  EXPECT_EQ(BFloat16ToFloat(FloatToBFloat16(1.0f + 0x1p-8f)), 1.0f);
  EXPECT_EQ(BFloat16ToFloat(FloatToBFloat16(1.0f + 3 * 0x1p-8f)),
            1.0f + 0x1p-6f);
}

TEST(DTypeTest, KeepsInfinityAndNan) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Float16ToFloat(FloatToFloat16(1e6f)), infinity);
  EXPECT_EQ(Float16ToFloat(FloatToFloat16(-infinity)), -infinity);
  EXPECT_TRUE(std::isnan(Float16ToFloat(FloatToFloat16(std::nanf("")))));
  EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(std::nanf("")))));
}

}  // namespace
}  // namespace caravan
