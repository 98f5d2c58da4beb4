// Engines that compute with quantized weights against float32 arithmetic on the
// same weights, decoded.

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "partition/model/model_source.h"
#include "partition/model/synthetic_source.h"
#include "partition/model/tensor_names.h"
#include "tests/support/engine_plan.h"
#include "tests/support/model_golden.h"
#include "tests/support/prompt_logits.h"
#include "tests/support/quantized_source.h"
#include "tests/support/real_model.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::ChooseFormat;
using ::caravan::testing::EnginePlanOptions;
using ::caravan::testing::MakeQuantizedSource;
using ::caravan::testing::PromptLogits;
using ::caravan::testing::QuantizableSpec;
using ::caravan::testing::RelativeRms;
using partition::ModelSource;
using Logits = std::vector<std::vector<float>>;

constexpr WeightFormat kQuantized[] = {WeightFormat::kQ8, WeightFormat::kQ4,
                                       WeightFormat::kQ4Minimum};

// What is allowed of the logits' size when activations are quantized.
constexpr double kQuantizedError = 0.01;

ChooseFormat All(WeightFormat format) {
  return [format](absl::string_view) { return format; };
}

// As converters mix formats: every join of held_format.h.
WeightFormat Mixed(absl::string_view tensor) {
  if (absl::StrContains(tensor, "layers.0")) {
    return absl::StrContains(tensor, partition::kValue) ||
                   absl::StrContains(tensor, partition::kUp)
               ? WeightFormat::kQ4Minimum
               : WeightFormat::kQ4;
  }
  if (absl::StrContains(tensor, "layers.1")) {
    return absl::StrContains(tensor, partition::kKey) ||
                   absl::StrContains(tensor, partition::kGate)
               ? WeightFormat::kQ8
               : WeightFormat::kQ4;
  }
  if (absl::StrContains(tensor, "layers.2")) {
    return absl::StrContains(tensor, partition::kUp) ? WeightFormat::kFloat16
           : absl::StrContains(tensor, partition::kQuery)
               ? WeightFormat::kQ8
               : WeightFormat::kQ4Minimum;
  }
  return WeightFormat::kQ8;
}

Logits LogitsOf(const ModelSource& source, const EnginePlanOptions& options) {
  const auto prompts = testing::RandomPrompts(8, 40, source.spec().vocab_size);
  auto logits = PromptLogits(source, options, prompts);
  EXPECT_THAT(logits, testing::IsOk());
  return logits.ok() ? *logits : Logits{};
}

const EnginePlanOptions kDecoded = {.weight_dtype = "float32",
                                    .quantization = "none"};

std::unique_ptr<ModelSource> MakeSource(const ChooseFormat& choose) {
  auto source = MakeQuantizedSource(QuantizableSpec(), choose);
  EXPECT_THAT(source, testing::IsOk());
  return source.ok() ? *std::move(source) : nullptr;
}

TEST(QuantizedTest, LogitsAreThoseOfTheDecodedWeights) {
  for (WeightFormat format : kQuantized) {
    const auto source = MakeSource(All(format));
    ASSERT_NE(source, nullptr);
    const double error =
        RelativeRms(LogitsOf(*source, {}), LogitsOf(*source, kDecoded));
    EXPECT_LT(error, kQuantizedError) << Name(format);
    EXPECT_GT(error, 0) << Name(format);  // really another arithmetic
  }
}

TEST(QuantizedTest, MixedFormatsAreJoined) {
  const auto source = MakeSource(Mixed);
  ASSERT_NE(source, nullptr);
  EXPECT_LT(RelativeRms(LogitsOf(*source, {}), LogitsOf(*source, kDecoded)),
            kQuantizedError);
}

TEST(QuantizedTest, BFloat16HasNoSuchError) {
  partition::ModelSpec spec = QuantizableSpec();
  spec.dtype = DType::kBFloat16;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               partition::MakeSyntheticSource(spec, 3));
  EXPECT_LT(RelativeRms(LogitsOf(*source, {.weight_dtype = "bfloat16"}),
                        LogitsOf(*source, kDecoded)),
            0.003);
}

// Quantizing while loading gives what a checkpoint gives that was quantized
// before.
TEST(QuantizedTest, QuantizingWhileLoadingIsTheSame) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto plain,
      MakeQuantizedSource(QuantizableSpec(), All(WeightFormat::kFloat32)));
  for (const auto& [name, format] : {std::pair("q8", WeightFormat::kQ8),
                                     std::pair("q4", WeightFormat::kQ4)}) {
    const auto quantized = MakeSource(All(format));
    ASSERT_NE(quantized, nullptr);
    EXPECT_EQ(LogitsOf(*plain, {.quantization = name}),
              LogitsOf(*quantized, {}))
        << name;
  }
}

TEST(QuantizedTest, PipelineStagesAndThreadsChangeNoBit) {
  const auto source = MakeSource(Mixed);
  ASSERT_NE(source, nullptr);
  const Logits one = LogitsOf(*source, {});
  ASSERT_FALSE(one.empty());
  EXPECT_EQ(LogitsOf(*source, {.pp = 2}), one);
  EXPECT_EQ(LogitsOf(*source, {.pp = 3}), one);
  EXPECT_EQ(LogitsOf(*source, {.num_threads = 3}), one);
}

TEST(QuantizedTest, TensorParallelIsWithinTolerance) {
  for (const ChooseFormat& choose :
       {All(WeightFormat::kQ8), All(WeightFormat::kQ4Minimum),
        ChooseFormat(Mixed)}) {
    const auto source = MakeSource(choose);
    ASSERT_NE(source, nullptr);
    const Logits one = LogitsOf(*source, {});
    for (int tp : {2, 3, 4}) {
      const Logits shard = LogitsOf(*source, {.tp = tp});
      ASSERT_EQ(shard.size(), one.size());
      EXPECT_LT(RelativeRms(shard, one), kQuantizedError) << "tp=" << tp;
    }
  }
}

// Heads of 16 under three ranks cut the attention output's blocks.
TEST(QuantizedTest, HeadsThatCutBlocksStillComputeTheModel) {
  partition::ModelSpec spec = QuantizableSpec();
  spec.num_heads = 4;
  spec.num_kv_heads = 4;
  spec.head_dim = 16;
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto source, MakeQuantizedSource(spec, All(WeightFormat::kQ4)));
  const Logits shard = LogitsOf(*source, {.tp = 3});
  const Logits expected = LogitsOf(*source, kDecoded);
  ASSERT_EQ(shard.size(), expected.size());
  // Sums are shorter here, so less of the error averages out.
  EXPECT_LT(RelativeRms(shard, expected), 1.5 * kQuantizedError);
}

TEST(QuantizedTest, FourBitsAreNotMadeEight) {
  const auto source = MakeSource(All(WeightFormat::kQ4));
  ASSERT_NE(source, nullptr);
  EXPECT_THAT(PromptLogits(*source, {.quantization = "q8"}, {{1, 2, 3}}),
              testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                ::testing::HasSubstr("auto and q4 compute")));
}

// Along the greedy text of the float32 golden: the model as it is stored gives
// its tokens nearly the same probabilities.
TEST(QuantizedTest, TheRealModelAsStored) {
  const std::string path = testing::RealModelFile();
  if (path.empty()) GTEST_SKIP() << testing::kNoRealModel;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               partition::OpenModel({.path = path}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const testing::ModelGolden golden,
      testing::LoadGolden(testing::GoldenFolder("smollm2_135m")));
  std::vector<std::vector<int32_t>> prompts;
  std::vector<int32_t> text = golden.prompt;
  for (int64_t row = 0; row < golden.num_logit_rows; ++row) {
    prompts.push_back(text);
    text.push_back(golden.greedy[row]);
  }
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Logits logits,
      PromptLogits(*source, {.num_blocks = 512, .num_threads = 2}, prompts));
  Logits expected;
  double differences = 0;
  for (int64_t row = 0; row < golden.num_logit_rows; ++row) {
    const auto begin = golden.logits.begin() + row * golden.vocab_size;
    expected.emplace_back(begin, begin + golden.vocab_size);
    differences +=
        std::abs(testing::LogProbability(logits[row], golden.greedy[row]) -
                 testing::LogProbability(expected[row], golden.greedy[row]));
  }
  // Its activations have outliers, which leave few bits to their neighbours.
  EXPECT_LT(RelativeRms(logits, expected), 0.1);
  EXPECT_LT(differences / static_cast<double>(golden.num_logit_rows), 0.3);
}

}  // namespace
}  // namespace caravan::worker
