#include "worker/backend/cpu/kernels.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "worker/backend/cpu/instruction_set.h"
#include "worker/backend/cpu/kernel_choice.h"

namespace caravan::worker {
namespace {

class KernelsTest : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    if (!CanRun(GetParam())) {
      GTEST_SKIP() << "this machine lacks " << Name(GetParam());
    }
  }
  const cpu::Kernels& kernels() { return cpu::KernelsOf(GetParam()); }
};

TEST_P(KernelsTest, SiluIsExactToAFewRoundings) {
  const std::vector<float> ones(4001, 1.0f);
  std::vector<float> gate;
  for (int i = -2000; i <= 2000; ++i) {
    gate.push_back(static_cast<float>(i) * 0.0431f);
  }
  std::vector<float> out(gate.size());
  kernels().gated_silu(gate.data(), ones.data(),
                       static_cast<int64_t>(gate.size()), out.data());
  for (size_t i = 0; i < gate.size(); ++i) {
    const double exact = gate[i] / (1 + std::exp(-double{gate[i]}));
    ASSERT_NEAR(out[i], exact, 4e-7 * std::abs(exact) + 1e-36)
        << "gate=" << gate[i];
  }
}

TEST_P(KernelsTest, SiluOfTheLargestNumbers) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> gate = {3e38f, -3e38f, kInfinity, 0.0f,
                                   std::numeric_limits<float>::quiet_NaN()};
  const std::vector<float> up(gate.size(), 1.0f);
  std::vector<float> out(gate.size());
  kernels().gated_silu(gate.data(), up.data(),
                       static_cast<int64_t>(gate.size()), out.data());
  EXPECT_EQ(out[0], 3e38f);
  EXPECT_NEAR(out[1], 0, 2);
  EXPECT_EQ(out[2], kInfinity);
  EXPECT_EQ(out[3], 0);
  EXPECT_TRUE(std::isnan(out[4]));
}

TEST_P(KernelsTest, FindAboveFindsTheFirst) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t count : {0, 1, 5, 63, 64, 200}) {
    std::vector<float> values(count, 1.0f);
    for (int64_t i = 0; i < count; i += 2) values[i] = kNan;
    EXPECT_EQ(kernels().find_above(values.data(), 0, count, 1.0f), count);
    for (int64_t at = 0; at < count; ++at) {
      std::vector<float> changed = values;
      changed[at] = 2.0f;
      if (at + 1 < count) changed.back() = 3.0f;
      ASSERT_EQ(kernels().find_above(changed.data(), 0, count, 1.0f), at);
      ASSERT_EQ(kernels().find_above(changed.data(), at + 1, count, 1.0f),
                at + 1 < count ? count - 1 : count);
    }
  }
}

TEST_P(KernelsTest, NormOfAnyLength) {
  for (int64_t count : {1, 3, 15, 16, 17, 100}) {
    std::vector<float> x(count);
    for (int64_t i = 0; i < count; ++i) x[i] = static_cast<float>(i) - 7.5f;
    const std::vector<float> weight(count, 2.0f);
    std::vector<float> out(count);
    kernels().rms_norm(x.data(), weight.data(), 0.25f, count, out.data());
    double sum = 0;
    for (float value : x) sum += double{value} * value;
    const double root = std::sqrt(sum / static_cast<double>(count) + 0.25);
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_NEAR(out[i], 2 * x[i] / root, 1e-6) << count;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sets, KernelsTest,
    ::testing::Values(InstructionSet::kPortable, InstructionSet::kAvx2,
                      InstructionSet::kAvx512),
    [](const ::testing::TestParamInfo<InstructionSet>& info) {
      return std::string(Name(info.param));
    });

TEST(InstructionSet, TheBestCanRun) {
  EXPECT_TRUE(CanRun(InstructionSet::kPortable));
  EXPECT_TRUE(CanRun(BestInstructionSet()));
}

}  // namespace
}  // namespace caravan::worker
