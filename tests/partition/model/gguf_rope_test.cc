#include "partition/model/gguf_rope.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

RopeSpec Llama31() {
  return {.theta = 500000.0,
          .scaling = RopeScaling::kLlama3,
          .factor = 8.0,
          .low_frequency_factor = 1.0,
          .high_frequency_factor = 4.0,
          .original_max_positions = 8192};
}

std::vector<float> Narrow(const std::vector<double>& values) {
  return std::vector<float>(values.begin(), values.end());
}

// transformers' _compute_llama3_parameters, frequencies before over after.
TEST(GgufRopeTest, DivisorsAreThoseOfLlama31) {
  const std::vector<double> divisors = Llama3Divisors(Llama31(), 128);
  ASSERT_EQ(divisors.size(), 64u);
  const std::vector<double> expected = {1.0,     1.207484, 1.553415, 2.026313,
                                        2.69453, 3.684253, 5.257327, 8.0};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(divisors[28 + i], expected[i], 1e-6);
  }
  EXPECT_EQ(divisors.front(), 1.0);
  EXPECT_EQ(divisors.back(), 8.0);
}

TEST(GgufRopeTest, InfersWhatMadeTheDivisors) {
  for (double factor : {8.0, 32.0}) {  // Llama 3.1 and 3.2
    for (int64_t original : {8192, 512}) {
      RopeSpec rope = Llama31();
      rope.factor = factor;
      rope.original_max_positions = original;
      CARAVAN_ASSERT_OK_AND_ASSIGN(
          const RopeSpec inferred,
          InferLlama3(Narrow(Llama3Divisors(rope, 64)), rope.theta, original));
      EXPECT_EQ(inferred.scaling, RopeScaling::kLlama3);
      EXPECT_EQ(inferred.factor, factor);
      EXPECT_EQ(inferred.original_max_positions, original);
    }
  }
}

TEST(GgufRopeTest, OnesScaleNothing) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const RopeSpec rope,
      InferLlama3(std::vector<float>(32, 1.0f), 10000.0, 8192));
  EXPECT_EQ(rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(rope.theta, 10000.0);
}

TEST(GgufRopeTest, RefusesOtherDivisors) {
  RopeSpec rope = Llama31();
  rope.low_frequency_factor = 2.0;
  EXPECT_THAT(InferLlama3(Narrow(Llama3Divisors(rope, 128)), rope.theta, 8192),
              StatusIs(kUnsupported, HasSubstr("only Llama 3's")));
  EXPECT_THAT(
      InferLlama3(Narrow(Llama3Divisors(Llama31(), 128)), 10000.0, 8192),
      StatusIs(kUnsupported));
  for (float bad : {0.0f, 0.5f, -8.0f, std::numeric_limits<float>::infinity(),
                    std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THAT(InferLlama3({1.0f, bad}, 10000.0, 8192),
                StatusIs(kUnsupported, HasSubstr("at least 1")));
  }
}

}  // namespace
}  // namespace caravan::partition
