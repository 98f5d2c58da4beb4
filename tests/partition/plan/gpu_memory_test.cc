#include "partition/plan/gpu_memory.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/partition/plan/plan_cases.h"
#include "tests/support/status_matchers.h"

// tests/worker/engine/gpu_memory_test.cc compares with what engines allocate.
namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kMiB = int64_t{1} << 20;

std::vector<DeviceSpec> Gpus(const std::vector<int64_t>& memory_gib) {
  std::vector<DeviceSpec> devices;
  for (const int64_t gib : memory_gib) {
    devices.push_back({.kind = DeviceKind::kGpu,
                       .node = "node",
                       .name = "gpu-" + std::to_string(devices.size()),
                       .memory_bytes = gib * kGiB});
  }
  return devices;
}

TEST(GpuMatrixBytesTest, RowsFillTilesAndPlainColumnsFillUnits) {
  EXPECT_EQ(GpuMatrixBytes(WeightFormat::kQ4, 64, 64), 64 * 2 * 18);
  EXPECT_EQ(GpuMatrixBytes(WeightFormat::kQ4, 33, 64), 64 * 2 * 18);
  EXPECT_EQ(GpuMatrixBytes(WeightFormat::kQ4Minimum, 1, 32), 32 * 20);
  EXPECT_EQ(GpuMatrixBytes(WeightFormat::kQ8, 32, 96), 32 * 3 * 34);
  EXPECT_EQ(GpuMatrixBytes(WeightFormat::kBFloat16, 32, 64), 32 * 64 * 2);
  EXPECT_EQ(GpuMatrixBytes(WeightFormat::kBFloat16, 31, 9), 32 * 32);
  EXPECT_EQ(GpuMatrixBytes(WeightFormat::kFloat32, 1, 5), 32 * 32);
}

TEST(GpuMemoryTest, WeightsAndCacheOfARank) {
  const ModelSpec spec = Named("llama-2-70b");
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan plan, MakePlan(spec, Gpus({24, 24}),
                                {.tp = 2, .quantization = Quantization::kQ4}));
  const int64_t norms = (2 * spec.num_layers + 1) * spec.hidden_size;
  const int64_t matrices = CountParameters(spec) - norms;
  for (const RankPlan& rank : plan.ranks) {
    EXPECT_EQ(rank.memory.weights, matrices / 2 / 32 * 18 + norms * 4);
    // 80 layers, 4 KV heads of 128, keys and values, 16 positions, bfloat16.
    EXPECT_EQ(KvBlockBytes(spec, rank), 80 * 4 * 128 * 2 * 16 * 2);
    EXPECT_GE(rank.memory.communication, 256 * kMiB);
    EXPECT_GE(rank.memory.reserve, 512 * kMiB);
    EXPECT_LE(rank.memory.total(), 24 * kGiB * 9 / 10);
  }
}

// The cards that people have: each whole page and assumption counted.
TEST(GpuMemoryTest, SeventyBillionInFourBitsFitsOnTwoCardsOf24GiB) {
  const ModelSpec spec = Named("llama-2-70b");
  PlanOptions options{.tp = 2, .quantization = Quantization::kQ4};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan plan,
                               MakePlan(spec, Gpus({24, 24}), options));
  EXPECT_GE(plan.num_blocks * kBlockTokens, 4096);
  options.quantization = Quantization::kQ8;
  EXPECT_THAT(MakePlan(spec, Gpus({24, 24}), options),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("for CUDA itself")));
}

TEST(GpuMemoryTest, UtilizationBoundsAllOfIt) {
  const ModelSpec spec = Named("llama-2-7b");
  PlanOptions options{.memory_utilization = 1, .num_blocks = 10};
  std::vector<DeviceSpec> devices = Gpus({40});
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan plan,
                               MakePlan(spec, devices, options));
  devices[0].memory_bytes = plan.ranks[0].memory.total();
  CARAVAN_EXPECT_OK(MakePlan(spec, devices, options));
  --devices[0].memory_bytes;
  EXPECT_THAT(MakePlan(spec, devices, options),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(GpuMemoryTest, LongContextsNeedRoomForTheirParts) {
  const ModelSpec spec = Named("llama-2-7b");
  const auto activations = [&](int64_t max_model_len, int64_t max_rows) {
    const auto plan = MakePlan(spec, Gpus({200}),
                               {.max_model_len = max_model_len,
                                .max_sequences = 4,
                                .max_rows_per_step = max_rows});
    EXPECT_THAT(plan, ::caravan::testing::IsOk());
    return plan->ranks[0].memory.activations;
  };
  const int64_t positions = 256 * 128 * 4;  // of the RoPE tables
  const int64_t blocks = 4 * 16 * 4;
  // 4 rows, hence 4 tiles of 16: a row of 32 heads of 128 in 2 parts each, with
  // a pair of floats for 128 sums.
  const int64_t parts = 4 * 16 * 2 * 32 * (128 + 2) * 4;
  EXPECT_EQ(activations(512, 4) - activations(256, 4),
            positions + blocks + parts);
  // Of many rows not more than 64 MiB at once.
  EXPECT_EQ(activations(512, 2048) - activations(256, 2048),
            positions + blocks + 64 * kMiB + 64 * kMiB / 128 * 2);
}

TEST(GpuMemoryTest, UnevenHeadsDecideHowManyRowsShareATile) {
  ModelSpec spec = Named("llama-2-7b");
  spec.num_kv_heads = 4;  // groups of 8
  RankPlan rank{.layers = {0, 1},
                .shard = {.heads = {0, 8},
                          .kv_heads = {0, 1},
                          .mlp_columns = {0, 32},
                          .vocabulary = {0, 32}}};
  const PlanOptions options{
      .max_model_len = 512, .max_sequences = 1, .max_rows_per_step = 1};
  const int64_t whole_group = GpuActivationBytes(spec, rank, options);
  // As many heads, of two groups: tiles of four rows instead of two.
  rank.shard.heads = {4, 12};
  rank.shard.kv_heads = {0, 2};
  const int64_t more_keys = 512 * 2 * 128 * 4;  // of rows at once
  const int64_t more_parts = 2 * 2 * 8 * (128 + 2) * 4;
  EXPECT_EQ(GpuActivationBytes(spec, rank, options) - whole_group,
            more_keys + more_parts);
}

TEST(GpuMemoryTest, GroupsGatherWhatTheyAddUp) {
  const ModelSpec spec = Named("llama-2-7b");  // 4096 wide
  const auto communication = [&](int tp, int pp, int64_t max_rows) {
    return GpuCommunicationBytes(
        spec, {.tp = tp, .pp = pp, .max_rows_per_step = max_rows});
  };
  EXPECT_EQ(communication(1, 1, 512), 0);
  // Two add all at once, three by chunks, whose last may be filled up; small
  // sums at once again.
  const int64_t message = 512 * 4096 * 4;
  EXPECT_EQ(communication(2, 1, 512), 256 * kMiB + 2 * message);
  EXPECT_EQ(communication(3, 1, 512), 256 * kMiB + 3 * 699056 * 4);
  EXPECT_EQ(communication(3, 1, 15), 256 * kMiB + 3 * 15 * 4096 * 4);
  EXPECT_EQ(communication(4, 1, 32), 256 * kMiB + 4 * 65536 * 4);
  // Stages pass on and add nothing.
  EXPECT_EQ(communication(1, 2, 512), 256 * kMiB);
  EXPECT_EQ(communication(2, 2, 512), 512 * kMiB + 2 * message);
}

TEST(GpuMemoryTest, BFloat16HalvesWhatGroupsGather) {
  const ModelSpec spec = Named("llama-2-7b");  // 4096 wide
  const auto communication = [&](int tp, int pp, int64_t max_rows) {
    return GpuCommunicationBytes(spec, {.tp = tp,
                                        .pp = pp,
                                        .activation_dtype = DType::kBFloat16,
                                        .max_rows_per_step = max_rows});
  };
  EXPECT_EQ(communication(1, 1, 512), 0);
  const int64_t message = 512 * 4096 * 2;
  EXPECT_EQ(communication(2, 1, 512), 256 * kMiB + 2 * message);
  // Chunks are sent from where all has been rounded.
  EXPECT_EQ(communication(3, 1, 512), 256 * kMiB + 3 * 699056 * 2 + message);
  EXPECT_EQ(communication(3, 1, 31), 256 * kMiB + 3 * 31 * 4096 * 2);
  // So are stages' activations.
  EXPECT_EQ(communication(1, 2, 512), 256 * kMiB + message);
  EXPECT_EQ(communication(2, 2, 512), 512 * kMiB + 3 * message);
}

TEST(GpuMemoryTest, GraphsAreReservedUnlessThereAreNone) {
  const ModelSpec spec = Named("llama-2-7b");
  const RankPlan rank{.layers = {0, 32}};
  // 64 graphs of 12 operations, and of 21 for each layer, or 30 with cuBLASLt's
  // products.
  for (const bool deterministic : {true, false}) {
    EXPECT_EQ(GpuReserveBytes(spec, rank, {.deterministic = deterministic}) -
                  GpuReserveBytes(spec, rank, {.enforce_eager = true}),
              int64_t{64} * (12 + 32 * (deterministic ? 21 : 30)) * 2048);
  }
}

TEST(GpuMemoryTest, ALibraryOfProductsNeedsRoomWhereWeightsHave16Bits) {
  const ModelSpec spec = Named("llama-2-7b");
  const RankPlan rank{.layers = {0, 1},
                      .shard = {.heads = {0, 8},
                                .kv_heads = {0, 8},
                                .mlp_columns = {0, 32},
                                .vocabulary = {0, 32}}};
  PlanOptions options{
      .max_model_len = 64, .max_sequences = 1, .max_rows_per_step = 8};
  const auto library = [&] {
    PlanOptions without = options;
    without.deterministic = true;
    return GpuActivationBytes(spec, rank, options) -
           GpuActivationBytes(spec, rank, without);
  };
  EXPECT_EQ(library(), 64 * kMiB);
  options.weight_dtype = DType::kFloat32;
  EXPECT_EQ(library(), 0);
  options.weight_dtype = DType::kBFloat16;
  options.quantization = Quantization::kQ4;
  EXPECT_EQ(library(), 0);
}

TEST(GpuMemoryTest, WholePagesAreReserved) {
  const ModelSpec spec = Named("llama-2-7b");
  const PlanOptions options = {.enforce_eager = true};
  RankPlan rank{.shard = {.heads = {0, 32},
                          .kv_heads = {0, 32},
                          .mlp_columns = {0, 11008},
                          .vocabulary = {0, 32000}}};
  const auto reserve = [&](int64_t num_layers) {
    rank.layers = {0, num_layers};
    return GpuReserveBytes(spec, rank, options);
  };
  // 4096 x 4096 and 12288 x 4096 are whole pages in bfloat16, as are the MLP's.
  EXPECT_EQ(reserve(2), reserve(1));
  rank.shard.mlp_columns = {0, 11040};  // 22080 and 32 x 4096 columns
  EXPECT_EQ(reserve(2) - reserve(1),
            (2 * kMiB - 22080 * 8192 % (2 * kMiB)) +
                (2 * kMiB - 4096 * 22080 % (2 * kMiB)));
}

TEST(GpuMemoryTest, UnequalCardsHaveUnequalLayersWhereTheyMust) {
  const ModelSpec spec = Named("llama-2-13b");  // 24.2 GiB in bfloat16
  const PlanOptions options{.pp = 2};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan equal,
                               MakePlan(spec, Gpus({24, 24}), options));
  EXPECT_EQ(equal.ranks[0].layers.size(), 20);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan roomy,
                               MakePlan(spec, Gpus({32, 24}), options));
  EXPECT_EQ(roomy.ranks[0].layers.size(), 20);
  for (const bool small_first : {true, false}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        MakePlan(spec, small_first ? Gpus({12, 32}) : Gpus({32, 12}), options));
    const RankPlan& small = plan.ranks[small_first ? 0 : 1];
    const RankPlan& large = plan.ranks[small_first ? 1 : 0];
    EXPECT_LT(small.layers.size(), 16);
    EXPECT_EQ(small.layers.size() + large.layers.size(), spec.num_layers);
    for (const RankPlan& rank : plan.ranks) {
      EXPECT_LE(rank.memory.total(), rank.device.memory_bytes * 9 / 10);
    }
  }
  EXPECT_THAT(MakePlan(spec, Gpus({12, 16}), options),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

// A stage has as many layers as the smallest card of its ranks allows.
TEST(GpuMemoryTest, TheSmallestCardOfAStageDecides) {
  const ModelSpec spec = Named("llama-2-13b");
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan plan,
      MakePlan(spec, Gpus({24, 6, 24, 24}), {.tp = 2, .pp = 2}));
  EXPECT_LT(plan.ranks[0].layers.size(), 18);
  EXPECT_EQ(plan.ranks[0].layers, plan.ranks[1].layers);
}

TEST(GpuMemoryTest, MixedDevicesEachHaveTheirOwn) {
  const ModelSpec spec = Named("llama-2-7b");
  std::vector<DeviceSpec> devices = Gpus({24});
  devices.push_back({.node = "node", .name = "cpu", .memory_bytes = 64 * kGiB});
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan plan,
                               MakePlan(spec, devices, {.pp = 2}));
  EXPECT_GT(plan.ranks[0].memory.reserve, 0);
  EXPECT_EQ(plan.ranks[1].memory.reserve, 0);
  EXPECT_THAT(FormatPlan(plan), AllOf(HasSubstr("CUDA"), HasSubstr("0.0 MiB"),
                                      HasSubstr("no GPU has measured it")));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan cpu, MakePlan(spec, {devices[1], devices[1]}, {.pp = 2}));
  EXPECT_THAT(FormatPlan(cpu), Not(HasSubstr("CUDA")));
}

}  // namespace
}  // namespace caravan::partition
