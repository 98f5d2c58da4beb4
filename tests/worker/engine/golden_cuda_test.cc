// An engine of one rank on the CUDA backend, here the emulated device, against
// Hugging Face transformers; its steps allocate nothing.

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/golden_rank.h"
#include "tests/support/model_golden.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

// Chunks of the prompt and the tokens after it, against what transformers says.
absl::Status Check(testing::GoldenRank golden,
                   const CudaBackendOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend,
                           CreateCudaBackend(options));
  const auto worlds = CreateLocalWorlds(1);
  emulated::MemoryCalls loaded;
  golden.on_loaded = [&] { loaded = emulated::MemoryCallsMade(); };
  golden.on_passed = [&] {
    EXPECT_EQ(emulated::MemoryCallsMade(), loaded) << "a step allocated";
  };
  return testing::RunGoldenRank(golden, *backend, *worlds[0]);
}

class GoldenCudaTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenCudaTest, LogitsAndGreedyTokensEqualTransformers) {
  CARAVAN_EXPECT_OK(Check({.golden_folder = testing::GoldenFolder(GetParam())},
                          {.deterministic = true}));
}

// Each activation of the prompt is rounded, to float16 an eighth as much as to
// bfloat16; and so are the logits off.
TEST(GoldenCudaLibraryTest, LogitsAreNearTransformersAndTokensEqual) {
  for (const auto& [dtype, tolerance] :
       {std::pair("bfloat16", 0.02), std::pair("float16", 0.02 / 8)}) {
    CARAVAN_EXPECT_OK(
        Check({.golden_folder = testing::GoldenFolder("grouped_8_to_1"),
               .plan = {.weight_dtype = dtype, .quantization = "none"},
               .logit_tolerance = tolerance},
              {.least_library_rows = 2}))
        << dtype;
  }
}

INSTANTIATE_TEST_SUITE_P(SmallModels, GoldenCudaTest,
                         ::testing::ValuesIn(testing::SmallGoldenModels()),
                         [](const auto& info) { return info.param; });

// On the CPU kv_cache_dtype_test.cc does the same with all models.
TEST(GoldenCuda, WithKeysAndValuesInFloat16TokensEqualTransformers) {
  for (const char* model : {"multi_head", "grouped_8_to_1"}) {
    CARAVAN_EXPECT_OK(
        Check({.golden_folder = testing::GoldenFolder(model),
               .plan = {.quantization = "none", .kv_cache_dtype = "float16"},
               .logit_tolerance = testing::kFloat16CacheTolerance},
              {.deterministic = true}));
  }
}

}  // namespace
}  // namespace caravan::worker
