#include "cli/plan.h"

#include <CLI/CLI.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PlanReportTest, PlansModelsByName) {
  EXPECT_THAT(
      PlanReport(
          {.model = "llama-2-70b", .tp = 4, .pp = 2, .device_memory = "24GiB"}),
      IsOkAndHolds(AllOf(HasSubstr("68.98e9 parameters"), HasSubstr("cpu-7"),
                         HasSubstr("weights bfloat16"))));
}

TEST(PlanReportTest, TakesFewerLayers) {
  EXPECT_THAT(PlanReport({.model = "llama-2-70b",
                          .device_memory = "24GiB",
                          .hf_overrides = R"({"num_hidden_layers": 2})"}),
              IsOkAndHolds(HasSubstr("2 layers")));
  EXPECT_THAT(PlanReport({.model = "llama-2-70b", .hf_overrides = "x"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--hf-overrides")));
}

TEST(PlanReportTest, SaysInWhatActivationsTravel) {
  PlanCommandOptions options{
      .model = "llama-2-7b", .tp = 2, .device_memory = "24GiB"};
  // Two messages of 512 rows of 4096; in bfloat16 also where they are rounded.
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(AllOf(HasSubstr("activations sent in float32"),
                                 HasSubstr("16.0 MiB"))));
  options.activation_dtype = "bfloat16";
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(AllOf(HasSubstr("activations sent in bfloat16"),
                                 HasSubstr("12.0 MiB"))));
  options.tp = 1;
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(Not(HasSubstr("activations sent"))));
}

TEST(PlanReportTest, SaysInWhatKeysAndValuesAreHeld) {
  PlanCommandOptions options{.model = "llama-2-7b", .device_memory = "24GiB"};
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(HasSubstr("KV cache float32 (1024.0 KiB a token)")));
  options.kv_cache_dtype = "float16";
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(HasSubstr("KV cache float16 (512.0 KiB a token)")));
  options.device = "cuda";
  options.kv_cache_dtype = "auto";
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(HasSubstr("KV cache bfloat16 (512.0 KiB a token)")));
}

TEST(PlanReportTest, SaysWhatWouldFit) {
  EXPECT_THAT(
      PlanReport({.model = "llama-2-13b", .device_memory = "16GiB"}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               AllOf(HasSubstr("too little"),
                     HasSubstr("--tensor-parallel-size 3 (3 devices)"))));
}

TEST(PlanReportTest, CountsWhatCudaTakes) {
  PlanCommandOptions options{.model = "llama-2-70b",
                             .tp = 2,
                             .device = "cuda",
                             .device_memory = "24GiB",
                             .quantization = "q4"};
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(AllOf(HasSubstr("CUDA"), HasSubstr("18.07 GiB"),
                                 HasSubstr("no GPU has measured it"))));
  options.memory_utilization = 0.7;
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("may use 16.80 GiB")));
}

TEST(PlanReportTest, TakesTheMemoryOfEachDevice) {
  PlanCommandOptions options{.model = "llama-2-13b",
                             .pp = 2,
                             .device = "cuda",
                             .device_memory = "24GiB,16GiB"};
  EXPECT_THAT(PlanReport(options), IsOkAndHolds(HasSubstr("0-20")));
  options.device_memory = "24GiB,16GiB,8GiB";
  EXPECT_THAT(PlanReport(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("3 sizes for 2 ranks")));
  options.device_memory = "";
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--device cuda needs --device-memory")));
  options.device = "tpu";
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("devices must be cpu, cuda or simulated")));
  options.device = "simulated";
  EXPECT_THAT(PlanReport(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("no plan for it")));
}

TEST(PlanReportTest, PlansGpusBesideCpus) {
  PlanCommandOptions options{.model = "llama-2-70b",
                             .pp = 2,
                             .device = "cuda,cpu",
                             .device_memory = "24GiB,64GiB",
                             .quantization = "q4"};
  EXPECT_THAT(PlanReport(options),
              IsOkAndHolds(AllOf(HasSubstr("gpu-0"), HasSubstr("cpu-1"),
                                 HasSubstr("no GPU has measured it"))));
  options.device = "cuda,cpu,cpu";
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("each of the 2 pipeline stages")));
  options.device = "cpu,cuda";
  options.device_memory = "";
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--device cuda needs --device-memory")));
}

TEST(PlanReportTest, UsesThisMachineWithoutDeviceMemory) {
  PlanCommandOptions options{.model = "llama-2-7b"};
  // Whether it fits depends on the machine; that it was asked does not.
  const auto report = PlanReport(options);
  if (!report.ok()) {
    EXPECT_THAT(report, StatusIs(absl::StatusCode::kResourceExhausted));
  }
}

TEST(PlanReportTest, RefusesByName) {
  const PlanCommandOptions good{.model = "llama-2-7b",
                                .device_memory = "100GiB"};
  CARAVAN_EXPECT_OK(PlanReport(good));
  PlanCommandOptions options = good;
  options.model = "no-such-model";
  EXPECT_THAT(PlanReport(options), StatusIs(absl::StatusCode::kNotFound,
                                            AllOf(HasSubstr("no-such-model"),
                                                  HasSubstr("llama-2-13b"))));
  options = good;
  options.tp = 33;
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--tensor-parallel-size must be 1 to 32")));
  options = good;
  options.pp = 0;
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--pipeline-parallel-size must be 1 to 32")));
  options = good;
  options.dtype = "int3";
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("int3")));
  options = good;
  options.activation_dtype = "float16";
  EXPECT_THAT(PlanReport(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("activation_dtype")));
  options = good;
  options.kv_cache_dtype = "fp8";
  EXPECT_THAT(PlanReport(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("--kv-cache-dtype")));
  options = good;
  options.quantization = "int3";
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("auto, none, q8 or q4, is \"int3\"")));
  options = good;
  options.device_memory = "lots";
  EXPECT_THAT(PlanReport(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("--device-memory")));
  options = good;
  options.max_model_len = 5000;
  EXPECT_THAT(PlanReport(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("max_model_len must be 1 to 4096")));
}

TEST(PlanCommandTest, TakesItsFlags) {
  CLI::App app;
  int exit_code = 7;
  AddPlanCommand(app, exit_code);
  // Fails after parsing: the model does not exist.
  app.parse(
      "plan no-such-model --tp 2 --pipeline-parallel-size 2 "
      "--device cuda --device-memory 1GiB,2GiB --max-model-len 64 "
      "--max-num-seqs 4 --enforce-eager --deterministic "
      "--dtype float32 --quantization q8 --load-format dummy "
      "--activation-dtype bfloat16 --kv-cache-dtype float16");
  EXPECT_EQ(exit_code, 1);
  EXPECT_THROW(app.parse("plan"), CLI::RequiredError);
  EXPECT_THROW(app.parse("plan m --load-format x"), CLI::ValidationError);
  EXPECT_THROW(app.parse("plan m --device simulated"), CLI::ValidationError);
  EXPECT_THROW(app.parse("plan m --activation-dtype float16"),
               CLI::ValidationError);
  EXPECT_THROW(app.parse("plan m --kv-cache-dtype int8"), CLI::ValidationError);
}

}  // namespace
}  // namespace caravan::cli
