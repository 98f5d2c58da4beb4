#include "worker/llama/rope.h"

#include <cmath>

#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

using Scaling = RopeParameters::Scaling;

// The angle's cosine, from the definition, in double.
double Cosine(double position, double theta, int64_t pair, int64_t head_dim) {
  return std::cos(position / std::pow(theta, 2.0 * pair / head_dim));
}

TEST(RopeTest, PlainAnglesFollowTheDefinition) {
  const RopeAngles angles =
      ComputeRopeAngles({.head_dim = 8, .theta = 10000}, 50);
  for (int64_t position : {0, 1, 17, 49}) {
    for (int64_t pair = 0; pair < 4; ++pair) {
      EXPECT_NEAR(angles.cos[position * 4 + pair],
                  Cosine(position, 10000, pair, 8), 1e-5)
          << "position=" << position << " pair=" << pair;
    }
  }
  EXPECT_EQ(angles.sin[0], 0.0f);
}

TEST(RopeTest, LinearScalingStretchesPositions) {
  const RopeAngles plain =
      ComputeRopeAngles({.head_dim = 8, .theta = 10000}, 10);
  const RopeAngles linear = ComputeRopeAngles(
      {.head_dim = 8, .theta = 10000, .scaling = Scaling::kLinear, .factor = 4},
      40);
  for (int64_t pair = 0; pair < 4; ++pair) {
    EXPECT_NEAR(linear.cos[36 * 4 + pair], plain.cos[9 * 4 + pair], 1e-5);
  }
}

TEST(RopeTest, DynamicScalingLeavesTheTrainedContextAlone) {
  const RopeParameters dynamic{.head_dim = 8,
                               .theta = 10000,
                               .scaling = Scaling::kDynamic,
                               .factor = 2,
                               .original_max_positions = 16};
  const RopeAngles plain =
      ComputeRopeAngles({.head_dim = 8, .theta = 10000}, 32);
  const RopeAngles stretched = ComputeRopeAngles(dynamic, 32);
  for (int64_t i = 0; i < 16 * 4; ++i)
    EXPECT_EQ(stretched.cos[i], plain.cos[i]);
  // At the last of 32 positions the base is theta * (2 * 32 / 16 - 1)^(8 / 6).
  const double theta = 10000 * std::pow(3.0, 8.0 / 6.0);
  EXPECT_NEAR(stretched.cos[31 * 4 + 1], Cosine(31, theta, 1, 8), 1e-5);
  // A longer table does not change what is before.
  const RopeAngles longer = ComputeRopeAngles(dynamic, 64);
  for (size_t i = 0; i < stretched.cos.size(); ++i) {
    EXPECT_EQ(longer.cos[i], stretched.cos[i]);
  }
}

TEST(RopeTest, Llama3KeepsShortWavesAndStretchesLongOnes) {
  const RopeParameters llama3{.head_dim = 64,
                              .theta = 500000,
                              .scaling = Scaling::kLlama3,
                              .factor = 8,
                              .low_frequency_factor = 1,
                              .high_frequency_factor = 4,
                              .original_max_positions = 8192};
  const RopeAngles angles = ComputeRopeAngles(llama3, 3);
  EXPECT_NEAR(angles.sin[32 + 0], std::sin(1.0), 1e-6);
  const double longest = std::pow(500000.0, -62.0 / 64.0);
  EXPECT_NEAR(angles.sin[2 * 32 + 31], std::sin(2 * longest / 8), 1e-9);
}

}  // namespace
}  // namespace caravan::worker
