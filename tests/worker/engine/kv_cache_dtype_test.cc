// What keys and values in 16 bits do to logits, and what they leave as it is.

#include "gtest/gtest.h"
#include "tests/support/golden_rank.h"
#include "tests/support/model_golden.h"
#include "tests/support/prompt_logits.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/engine/small_model_logits.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::RelativeRms;

using KvCacheDTypeTest = SmallModelLogits;

TEST_P(KvCacheDTypeTest, InFloat16GreedyTokensEqualTransformers) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto backend, CreateCpuBackend({}));
  const auto worlds = CreateLocalWorlds(1);
  CARAVAN_EXPECT_OK(testing::RunGoldenRank(
      {.golden_folder = testing::GoldenFolder(GetParam()),
       .plan = {.quantization = "none", .kv_cache_dtype = "float16"},
       .logit_tolerance = testing::kFloat16CacheTolerance},
      *backend, *worlds[0]));
}

// bfloat16 has 3 bits less, so that its errors are 8 times as large. Here up to
// 0.0014 and 0.0111.
TEST_P(KvCacheDTypeTest, LogitsDifferFromThoseOfFloat32ByLittle) {
  const Logits wide = LogitsOf({});
  const double half =
      RelativeRms(LogitsOf({.kv_cache_dtype = "float16"}), wide);
  const double brain =
      RelativeRms(LogitsOf({.kv_cache_dtype = "bfloat16"}), wide);
  EXPECT_GT(half, 0);
  EXPECT_LT(half, 0.002);
  EXPECT_GT(brain, 4 * half);
  EXPECT_LT(brain, 0.015);
}

TEST_P(KvCacheDTypeTest, StagesChangeNoBit) {
  for (const char* dtype : {"float16", "bfloat16"}) {
    const Logits one = LogitsOf({.kv_cache_dtype = dtype});
    ASSERT_FALSE(one.empty());
    EXPECT_EQ(LogitsOf({.pp = 2, .kv_cache_dtype = dtype}), one) << dtype;
  }
}

INSTANTIATE_TEST_SUITE_P(SmallModels, KvCacheDTypeTest,
                         ::testing::ValuesIn(testing::SmallGoldenModels()),
                         [](const auto& info) { return info.param; });

TEST(KvCacheDType, UnknownNamesAreRefused) {
  for (const char* name : {"auto", "fp8", ""}) {
    SCOPED_TRACE(name);
    ExpectRefused({.kv_cache_dtype = name});
  }
}

}  // namespace
}  // namespace caravan::worker
