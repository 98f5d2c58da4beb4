// An engine of one rank on the CUDA backend, here the emulated device, against
// Hugging Face transformers; its steps allocate nothing.

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "partition/model/model_source.h"
#include "tests/emulated_device/control.h"
#include "tests/support/engine_plan.h"
#include "tests/support/model_golden.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/comm/local/local_world.h"
#include "worker/engine/model_executor.h"

namespace caravan::worker {
namespace {

class GoldenCudaTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenCudaTest, LogitsAndGreedyTokensEqualTransformers) {
  const std::string folder = testing::GoldenFolder(GetParam());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const testing::ModelGolden golden,
                               testing::LoadGolden(folder));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<partition::ModelSource> source,
      partition::OpenModel({.path = folder}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const v1::EnginePlan plan,
      testing::MakeEnginePlan(source->spec(), {.quantization = "none"}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Backend> backend,
                               CreateCudaBackend(CudaBackendOptions{}));
  const auto worlds = CreateLocalWorlds(1);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<ModelExecutor> executor,
      ModelExecutor::Create({.plan = &plan,
                             .rank = 0,
                             .source = source.get(),
                             .backend = backend.get(),
                             .world = worlds[0].get()}));
  const emulated::MemoryCalls before = emulated::MemoryCallsMade();
  CARAVAN_EXPECT_OK(
      testing::CheckGolden(golden, plan.ranks(0), *backend, *executor));
  EXPECT_EQ(emulated::MemoryCallsMade(), before) << "a step allocated";
}

INSTANTIATE_TEST_SUITE_P(SmallModels, GoldenCudaTest,
                         ::testing::ValuesIn(testing::SmallGoldenModels()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace caravan::worker
