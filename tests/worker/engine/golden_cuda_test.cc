// An engine of one rank on the CUDA backend, here the emulated device, against
// Hugging Face transformers; its steps allocate nothing.

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/golden_rank.h"
#include "tests/support/model_golden.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

class GoldenCudaTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenCudaTest, LogitsAndGreedyTokensEqualTransformers) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<Backend> backend,
      CreateCudaBackend(CudaBackendOptions{.deterministic = true}));
  const auto worlds = CreateLocalWorlds(1);
  emulated::MemoryCalls loaded;
  CARAVAN_EXPECT_OK(testing::RunGoldenRank(
      {.golden_folder = testing::GoldenFolder(GetParam()),
       .on_loaded = [&] { loaded = emulated::MemoryCallsMade(); },
       .on_passed =
           [&] {
             EXPECT_EQ(emulated::MemoryCallsMade(), loaded)
                 << "a step allocated";
           }},
      *backend, *worlds[0]));
}

INSTANTIATE_TEST_SUITE_P(SmallModels, GoldenCudaTest,
                         ::testing::ValuesIn(testing::SmallGoldenModels()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace caravan::worker
