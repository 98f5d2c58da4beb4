#include "cli/machine_limit.h"

#include "gtest/gtest.h"
#include "partition/model/named_models.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

constexpr SpeedTest kPrefill = {.num_tokens = 512};
constexpr SpeedTest kDecode = {.kind = SpeedTest::Kind::kDecode,
                               .num_tokens = 128};

TEST(MachineLimitTest, CountsWhatATokenCosts) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const partition::ModelSpec spec,
      partition::NamedModelSpec("llama-2-70b", R"({"num_hidden_layers": 2})"));
  // A layer's parameters by hand: query, output; key, value; MLP.
  const double layer =
      2.0 * 8192 * 8192 + 2.0 * 8192 * 1024 + 3.0 * 8192 * 28672;
  const double head = 32000.0 * 8192;
  const auto cost = [&](const partition::HoldOptions& hold,
                        const SpeedTest& test) {
    return MachineLimit(spec, hold, 1).CostOf(test);
  };
  using partition::Quantization;
  EXPECT_EQ(cost({.dtype = DType::kBFloat16}, kDecode), 2 * (2 * layer + head));
  EXPECT_EQ(cost({.dtype = DType::kFloat32}, kDecode), 4 * (2 * layer + head));
  EXPECT_EQ(cost({.quantization = Quantization::kQ8}, kDecode),
            34.0 / 32 * (2 * layer + head));
  EXPECT_EQ(cost({.quantization = Quantization::kQ4}, kDecode),
            18.0 / 32 * (2 * layer + head));
  EXPECT_EQ(cost({.quantization = Quantization::kQ4}, kPrefill),
            2 * (2 * layer + head / 512));
}

TEST(MachineLimitTest, BoundsSingleStreams) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const partition::ModelSpec spec,
                               partition::NamedModelSpec("llama-2-7b"));
  const MachineLimit limit(spec, {}, 2);
  for (const SpeedTest& test : {kPrefill, kDecode}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const double rate,
                                 limit.TokensPerSecond(test));
    EXPECT_GT(rate, 0);
  }
  SpeedTest many = kDecode;
  many.num_streams = 16;
  EXPECT_EQ(*limit.TokensPerSecond(many), 0);
}

}  // namespace
}  // namespace caravan::cli
