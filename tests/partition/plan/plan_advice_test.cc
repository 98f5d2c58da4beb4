#include "partition/plan/plan_advice.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/partition/plan/plan_cases.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(PlanAdviceTest, AdvisesToQuantize) {
  const ModelSpec spec = Named("llama-2-7b");
  PlanOptions options{.max_model_len = 512, .max_sequences = 1};
  const std::vector<DeviceSpec> devices = Devices(1, 8 * kGiB);
  EXPECT_THAT(MakePlan(spec, devices, options),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("--quantization q4")));
  options.quantization = Quantization::kQ8;
  EXPECT_FALSE(MakePlan(spec, devices, options).ok());
  options.quantization = Quantization::kQ4;
  CARAVAN_EXPECT_OK(MakePlan(spec, devices, options));
}

TEST(PlanAdviceTest, AnExactFitFitsAndAByteLessDoesNot) {
  const ModelSpec spec = Named("llama-2-7b");
  PlanOptions options{.memory_utilization = 1, .num_blocks = 10};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan roomy,
                               MakePlan(spec, Devices(1, 500 * kGiB), options));
  const int64_t total = roomy.ranks[0].memory.total();
  CARAVAN_EXPECT_OK(MakePlan(spec, Devices(1, total), options));
  EXPECT_THAT(MakePlan(spec, Devices(1, total - 1), options),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(PlanAdviceTest, SaysByHowMuchWhereAndWhatWouldFit) {
  std::vector<DeviceSpec> devices = Devices(2, 20 * kGiB);
  devices[1].memory_bytes = 8 * kGiB;
  const ModelSpec spec = Named("llama-2-13b");
  EXPECT_THAT(
      MakePlan(spec, devices, {.tp = 2}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               AllOf(HasSubstr("rank 1 (stage 0, tp rank 1, on node-1/cpu)"),
                     HasSubstr("too little"),
                     HasSubstr("--tensor-parallel-size 3 (3 devices)"),
                     HasSubstr("--pipeline-parallel-size 2 (4 devices)"),
                     HasSubstr("--max-model-len 384"))));
  CARAVAN_EXPECT_OK(MakePlan(spec, devices, {.tp = 2, .max_model_len = 384}));
}

TEST(PlanAdviceTest, EachAdviceHolds) {
  const ModelSpec spec = Named("llama-2-7b");
  const PlanOptions options{.weight_dtype = DType::kFloat32,
                            .max_rows_per_step = 8192};
  const std::vector<DeviceSpec> devices = Devices(1, 33 * kGiB);
  EXPECT_THAT(MakePlan(spec, devices, options),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("--tensor-parallel-size 2 (2 devices)"),
                             HasSubstr("--pipeline-parallel-size 2"),
                             HasSubstr("--max-model-len 3712"),
                             HasSubstr("--dtype bfloat16"),
                             HasSubstr("--max-num-batched-tokens 64"))));
  PlanOptions changed = options;
  changed.tp = 2;
  CARAVAN_EXPECT_OK(MakePlan(spec, Devices(2, 33 * kGiB), changed));
  changed = options;
  changed.pp = 2;
  CARAVAN_EXPECT_OK(MakePlan(spec, Devices(2, 33 * kGiB), changed));
  changed = options;
  changed.weight_dtype = DType::kBFloat16;
  CARAVAN_EXPECT_OK(MakePlan(spec, devices, changed));
  changed = options;
  changed.max_rows_per_step = 64;
  CARAVAN_EXPECT_OK(MakePlan(spec, devices, changed));
  changed = options;
  changed.max_model_len = 3712;
  CARAVAN_EXPECT_OK(MakePlan(spec, devices, changed));
  changed.max_model_len = 3712 + 128;
  EXPECT_THAT(MakePlan(spec, devices, changed),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(PlanAdviceTest, SaysWhenNoSingleChangeWouldDo) {
  EXPECT_THAT(MakePlan(Named("llama-2-70b"), Devices(1, 64 << 20), {}),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("No single change of options would do")));
}

}  // namespace
}  // namespace caravan::partition
