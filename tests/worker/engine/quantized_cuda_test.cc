// Engines on the CUDA backend, here the emulated device, in every format
// against float32 arithmetic on the same weights, decoded, on the CPU.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/weight_format.h"
#include "gtest/gtest.h"
#include "partition/model/model_source.h"
#include "partition/model/synthetic_source.h"
#include "tests/support/engine_plan.h"
#include "tests/support/prompt_logits.h"
#include "tests/support/quantized_source.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::EnginePlanOptions;
using ::caravan::testing::PromptLogits;
using ::caravan::testing::RelativeRms;
using partition::ModelSource;
using Logits = std::vector<std::vector<float>>;

// What is allowed of the logits' size.
constexpr double kQuantizedError = 0.01;
constexpr double kHalfError = 0.003;
constexpr double kFloatError = 1e-5;

std::vector<std::vector<int32_t>> Prompts(const ModelSource& source) {
  return testing::RandomPrompts(4, 40, source.spec().vocab_size);
}

Logits OnGpu(const ModelSource& source,
             const CudaBackendOptions& options = {.deterministic = true}) {
  auto logits = PromptLogits(
      source, {}, Prompts(source),
      [&](const v1::RankPlan&) { return CreateCudaBackend(options); });
  EXPECT_THAT(logits, testing::IsOk());
  return logits.ok() ? *logits : Logits{};
}

Logits InFloat32(const ModelSource& source) {
  auto logits =
      PromptLogits(source, {.weight_dtype = "float32", .quantization = "none"},
                   Prompts(source));
  EXPECT_THAT(logits, testing::IsOk());
  return logits.ok() ? *logits : Logits{};
}

class QuantizedCudaTest : public ::testing::TestWithParam<WeightFormat> {};

TEST_P(QuantizedCudaTest, LogitsAreThoseOfTheDecodedWeights) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto source, testing::MakeQuantizedSource(
                             testing::QuantizableSpec(),
                             [](absl::string_view) { return GetParam(); }));
  const double error = RelativeRms(OnGpu(*source), InFloat32(*source));
  EXPECT_LT(error, kQuantizedError);
  EXPECT_GT(error, 0);  // really another arithmetic
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantizedCudaTest,
                         ::testing::Values(WeightFormat::kQ8, WeightFormat::kQ4,
                                           WeightFormat::kQ4Minimum),
                         [](const auto& info) {
                           std::string name(Name(info.param));
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST(PlainCudaTest, LogitsAreThoseOfFloat32) {
  for (const DType dtype :
       {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    partition::ModelSpec spec = testing::QuantizableSpec();
    spec.dtype = dtype;
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                                 partition::MakeSyntheticSource(spec, 3));
    EXPECT_LT(RelativeRms(OnGpu(*source), InFloat32(*source)),
              dtype == DType::kFloat32 ? kFloatError : kHalfError)
        << Name(dtype);
  }
}

// What the library's products cost: each activation is rounded once more.
TEST(PlainCudaTest, TheLibrarysProductsRoundALittle) {
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    partition::ModelSpec spec = testing::QuantizableSpec();
    spec.dtype = dtype;
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                                 partition::MakeSyntheticSource(spec, 3));
    const Logits exact = InFloat32(*source);
    const double error =
        RelativeRms(OnGpu(*source, {.least_library_rows = 2}), exact);
    EXPECT_LT(error, kHalfError) << Name(dtype);
    EXPECT_GT(error, 2 * RelativeRms(OnGpu(*source), exact)) << Name(dtype);
  }
}

}  // namespace
}  // namespace caravan::worker
