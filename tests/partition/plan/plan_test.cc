#include "partition/plan/plan.h"

#include <algorithm>
#include <string>

#include "base/checked_math.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "partition/plan/rank_memory.h"
#include "tests/partition/plan/plan_cases.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(MakePlanTest, LaysOutEveryLayerHeadAndRowOnce) {
  const ModelSpec spec = Named("llama-2-70b");
  for (const auto& [tp, pp] :
       {std::pair(1, 1), std::pair(4, 2), std::pair(3, 5), std::pair(16, 1)}) {
    SCOPED_TRACE(::testing::Message() << "tp=" << tp << " pp=" << pp);
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        MakePlan(spec, Devices(tp * pp, 200 * kGiB), {.tp = tp, .pp = pp}));
    ASSERT_EQ(plan.ranks.size(), static_cast<size_t>(tp * pp));
    std::vector<int> layer_owners(spec.num_layers);
    std::vector<int> row_owners(spec.vocab_size);
    for (size_t i = 0; i < plan.ranks.size(); ++i) {
      const RankPlan& rank = plan.ranks[i];
      EXPECT_EQ(rank.rank, static_cast<int>(i));
      EXPECT_EQ(rank.rank, rank.stage * tp + rank.tp_rank);
      EXPECT_EQ(rank.device.node, "node-" + std::to_string(i));
      EXPECT_EQ(rank.has_embedding, rank.stage == 0);
      EXPECT_EQ(rank.has_head, rank.stage == pp - 1);
      if (rank.tp_rank == 0) {
        for (int64_t layer = rank.layers.begin; layer < rank.layers.end;
             ++layer) {
          ++layer_owners[layer];
        }
      }
      if (rank.stage == 0) {
        for (int64_t row = rank.shard.vocabulary.begin;
             row < rank.shard.vocabulary.end; ++row) {
          ++row_owners[row];
        }
      }
    }
    EXPECT_THAT(layer_owners, ::testing::Each(1));
    EXPECT_THAT(row_owners, ::testing::Each(1));
  }
}

TEST(MakePlanTest, WeightsAreTheModelsParameters) {
  for (const char* name : {"llama-2-7b", "llama-2-13b", "llama-2-70b"}) {
    const ModelSpec spec = Named(name);
    const int64_t norms = (2 * spec.num_layers + 1) * spec.hidden_size;
    const int64_t bytes = 2 * (CountParameters(spec) - norms) + 4 * norms;
    for (const auto& [tp, pp] :
         {std::pair(1, 1), std::pair(2, 1), std::pair(1, 4), std::pair(4, 2)}) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(
          const Plan plan,
          MakePlan(spec, Devices(tp * pp, 200 * kGiB), {.tp = tp, .pp = pp}));
      int64_t sum = 0;
      for (const RankPlan& rank : plan.ranks) sum += rank.memory.weights;
      // Every tp rank holds the norms of its stage.
      EXPECT_EQ(sum, bytes + (tp - 1) * 4 * norms)
          << name << " tp=" << tp << " pp=" << pp;
    }
  }
}

TEST(MakePlanTest, QuantizedWeightsAreCountedInBlocks) {
  const ModelSpec spec = Named("llama-2-7b");
  const int64_t norms = (2 * spec.num_layers + 1) * spec.hidden_size;
  const int64_t matrices = CountParameters(spec) - norms;
  for (const auto& [quantization, block] :
       {std::pair(Quantization::kQ8, 34), std::pair(Quantization::kQ4, 18)}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        MakePlan(spec, Devices(1, 200 * kGiB), {.quantization = quantization}));
    EXPECT_EQ(plan.ranks[0].memory.weights, matrices / 32 * block + 4 * norms);
    EXPECT_THAT(FormatPlan(plan),
                HasSubstr(std::string("weights ") +
                          std::string(Name(quantization)) + ", KV"));
  }
}

// Each layer by its own formats, and the head by its own.
TEST(MakePlanTest, CountsWhatACheckpointStores) {
  ModelSpec spec = Named("llama-2-7b");
  spec.dtype = DType::kFloat32;
  spec.stored.embedding = WeightFormat::kQ8;
  spec.stored.head = WeightFormat::kQ8;
  constexpr WeightFormat kQ4 = WeightFormat::kQ4;
  spec.stored.layers.resize(spec.num_layers,
                            {kQ4, kQ4, kQ4, kQ4, kQ4, kQ4, kQ4});
  const auto weights = [&] {
    const auto plan = MakePlan(spec, Devices(1, 200 * kGiB),
                               {.weight_dtype = DType::kFloat32});
    EXPECT_THAT(plan, ::caravan::testing::IsOk());
    EXPECT_THAT(FormatPlan(*plan), HasSubstr("weights q4"));
    return plan->ranks[0].memory.weights;
  };
  const int64_t all_q4 = weights();
  const int64_t square = 4096 * 4096;
  const int64_t vocabulary = 32000 * 4096;
  const int64_t layer = 4 * square + 3 * 4096 * 11008;
  const int64_t norms = (2 * spec.num_layers + 1) * spec.hidden_size;
  EXPECT_EQ(all_q4,
            32 * layer / 32 * 18 + 2 * vocabulary / 32 * 34 + 4 * norms);
  spec.stored.layers[5].attention_output = WeightFormat::kQ4Minimum;
  EXPECT_EQ(weights() - all_q4, square / 32 * 2);
  // Query, key and value together with the value's minimum.
  spec.stored.layers[7].value = WeightFormat::kQ4Minimum;
  EXPECT_EQ(weights() - all_q4, 4 * square / 32 * 2);
}

TEST(MakePlanTest, RefusesEightBitsOfFour) {
  ModelSpec spec = Named("llama-2-7b");
  spec.stored.layers.resize(spec.num_layers);
  spec.stored.layers[31].down = WeightFormat::kQ4;
  EXPECT_THAT(MakePlan(spec, Devices(1, 200 * kGiB),
                       {.quantization = Quantization::kQ8}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--quantization q8")));
}

TEST(MakePlanTest, SmallerDevicesTakeFewerHeadsWhereTheyMust) {
  const ModelSpec spec = Named("llama-2-13b");
  const PlanOptions options{.tp = 2, .max_model_len = 512, .max_sequences = 1};
  std::vector<DeviceSpec> devices = Devices(2, 24 * kGiB);
  devices[1].memory_bytes = 12 * kGiB;
  for (const DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kGpu}) {
    for (DeviceSpec& device : devices) device.kind = kind;
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan plan,
                                 MakePlan(spec, devices, options));
    const RankPlan& large = plan.ranks[0];
    const RankPlan& small = plan.ranks[1];
    EXPECT_GT(large.shard.heads.size(), 3 * small.shard.heads.size() / 2);
    EXPECT_EQ(large.shard.heads.end, small.shard.heads.begin);
    EXPECT_EQ(small.shard.heads.end, spec.num_heads);
    EXPECT_LE(small.memory.total(), 12 * kGiB);
    EXPECT_LE(large.memory.total(), 24 * kGiB);
  }
  devices[1].memory_bytes = 3 * kGiB;
  EXPECT_THAT(MakePlan(spec, devices, options),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("does not fit")));
}

TEST(MakePlanTest, HeadsStayEvenWhereLayersCanMove) {
  const ModelSpec spec = Named("llama-2-13b");
  std::vector<DeviceSpec> devices = Devices(4, 12 * kGiB);
  devices[2].memory_bytes = devices[3].memory_bytes = 6 * kGiB;
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan plan,
      MakePlan(spec, devices,
               {.tp = 2, .pp = 2, .max_model_len = 512, .max_sequences = 1}));
  EXPECT_GT(plan.ranks[0].layers.size(), plan.ranks[2].layers.size());
  for (const RankPlan& rank : plan.ranks) {
    EXPECT_EQ(rank.shard.heads.size(), spec.num_heads / 2);
  }
}

TEST(MakePlanTest, RowsAreFilledUpToWholePanels) {
  ModelSpec spec = Named("llama-2-7b");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan even,
                               MakePlan(spec, Devices(1, 200 * kGiB), {}));
  ++spec.vocab_size;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan odd,
                               MakePlan(spec, Devices(1, 200 * kGiB), {}));
  EXPECT_EQ(odd.ranks[0].memory.weights - even.ranks[0].memory.weights,
            2 * 32 * 4096 * 2);  // embedding and head, 32 rows each
}

TEST(MakePlanTest, TiedEmbeddingsAreHeldOnceWhereTheyMeet) {
  ModelSpec spec = Named("llama-2-7b");
  const int64_t table = 2 * spec.vocab_size * spec.hidden_size;
  const auto weights = [&](int pp) {
    const auto plan = MakePlan(spec, Devices(pp, 200 * kGiB), {.pp = pp});
    int64_t sum = 0;
    for (const RankPlan& rank : plan->ranks) sum += rank.memory.weights;
    return sum;
  };
  const int64_t untied = weights(1);
  spec.tied_embeddings = true;
  EXPECT_EQ(weights(1), untied - table);
  EXPECT_EQ(weights(2), untied);
}

TEST(MakePlanTest, FillsWhatIsLeftWithBlocks) {
  const ModelSpec spec = Named("llama-2-7b");
  // The second device is tighter and decides for all.
  std::vector<DeviceSpec> devices = Devices(2, 24 * kGiB);
  devices[1].memory_bytes = 16 * kGiB;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan plan,
                               MakePlan(spec, devices, {.pp = 2}));
  EXPECT_EQ(plan.options.num_blocks, plan.num_blocks);
  for (const RankPlan& rank : plan.ranks) {
    const int64_t block = KvBlockBytes(spec, rank);
    // 16 layers of keys and values, 32 heads of 128, 16 positions, 4 bytes.
    EXPECT_EQ(block, 16 * 2 * 32 * 128 * 16 * 4);
    EXPECT_EQ(rank.memory.kv_cache, plan.num_blocks * block);
    const int64_t usable = rank.device.memory_bytes * 9 / 10;
    EXPECT_LE(rank.memory.total(), usable);
    if (rank.rank == 1) {
      EXPECT_GT(rank.memory.total() + block, usable);
    }
  }
}

TEST(MakePlanTest, SixteenBitsHoldTwiceTheTokens) {
  const ModelSpec spec = Named("llama-2-7b");
  const auto make = [&](std::optional<DType> dtype) {
    return MakePlan(spec, Devices(1, 24 * kGiB), {.kv_cache_dtype = dtype});
  };
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan wide, make(std::nullopt));
  EXPECT_EQ(wide.ranks[0].kv_cache_dtype, DType::kFloat32);
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Plan half, make(dtype));
    EXPECT_EQ(half.ranks[0].kv_cache_dtype, dtype);
    // 32 layers of keys and values, 32 heads of 128, 16 positions, 2 bytes.
    EXPECT_EQ(KvBlockBytes(spec, half.ranks[0]), 32 * 2 * 32 * 128 * 16 * 2);
    EXPECT_EQ(half.ranks[0].memory.kv_cache,
              half.num_blocks * 32 * 2 * 32 * 128 * 16 * 2);
    EXPECT_GE(half.num_blocks, 2 * wide.num_blocks);
    EXPECT_LE(half.num_blocks, 2 * wide.num_blocks + 1);
  }
}

TEST(MakePlanTest, EachDeviceHasItsOwnCacheDType) {
  std::vector<DeviceSpec> devices = Devices(2, 24 * kGiB);
  devices[1].kind = DeviceKind::kGpu;
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan plan, MakePlan(Named("llama-2-7b"), devices, {.pp = 2}));
  EXPECT_EQ(plan.ranks[0].kv_cache_dtype, DType::kFloat32);
  EXPECT_EQ(plan.ranks[1].kv_cache_dtype, DType::kBFloat16);
  // 16 layers each: 256 KiB of float32 a token, 128 KiB of bfloat16.
  EXPECT_THAT(FormatPlan(plan),
              HasSubstr("KV cache float32, bfloat16 (768.0 KiB a token)"));
}

TEST(MakePlanTest, TakesNoMoreBlocksThanSequencesCanUse) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan plan, MakePlan(Named("llama-2-7b"), Devices(1, 500 * kGiB),
                                {.max_model_len = 100, .max_sequences = 3}));
  EXPECT_EQ(plan.num_blocks, 3 * 7);
}

TEST(MakePlanTest, TakesTheBlocksThatItIsTold) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const Plan plan,
      MakePlan(Named("llama-2-7b"), Devices(1, 500 * kGiB), {.num_blocks = 5}));
  EXPECT_EQ(plan.num_blocks, 5);
  EXPECT_EQ(plan.options.max_model_len, 4096);
}

TEST(MakePlanTest, CountsMessagesInTheTypeInWhichTheyTravel) {
  const auto communication = [](int tp, int pp, DType dtype) {
    const auto plan = MakePlan(Named("llama-2-7b"), Devices(tp * pp, 64 * kGiB),
                               {.tp = tp,
                                .pp = pp,
                                .activation_dtype = dtype,
                                .max_rows_per_step = 100});
    return plan.ok() ? plan->ranks[0].memory.communication : -1;
  };
  const int64_t whole = 100 * 4096 * 4;
  const int64_t half = whole / 2;
  EXPECT_EQ(communication(1, 1, DType::kFloat32), 0);
  EXPECT_EQ(communication(1, 1, DType::kBFloat16), 0);
  EXPECT_EQ(communication(2, 1, DType::kFloat32), 2 * whole);
  EXPECT_EQ(communication(2, 1, DType::kBFloat16), 3 * half);
  EXPECT_EQ(communication(4, 2, DType::kFloat32), 5 * whole);
  EXPECT_EQ(communication(4, 2, DType::kBFloat16), 7 * half);
}

TEST(MakePlanTest, MoreRanksNeedNoMoreMemoryEach) {
  const ModelSpec spec = Named("llama-2-70b");
  int64_t last = std::numeric_limits<int64_t>::max();
  for (int tp : {1, 2, 4, 8}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        MakePlan(spec, Devices(tp, 500 * kGiB), {.tp = tp, .num_blocks = 256}));
    int64_t most = 0;
    for (const RankPlan& rank : plan.ranks) {
      most = std::max(most, rank.memory.total());
    }
    EXPECT_LT(most, last);
    last = most;
  }
}

TEST(MakePlanTest, RefusesWhatIsOutOfRange) {
  const ModelSpec spec = Named("llama-2-7b");
  const std::vector<DeviceSpec> devices = Devices(4, 100 * kGiB);
  struct {
    PlanOptions options;
    const char* message;
  } const cases[] = {
      {{.tp = 0}, "tp=0"},
      {{.pp = 0}, "pp=0"},
      {{.tp = 33}, "tp=33 heads=32"},
      {{.tp = 4, .pp = 2}, "devices=4 needed=8"},
      {{.activation_dtype = DType::kFloat16},
       "activation_dtype must be float32 or bfloat16, is float16"},
      {{.max_model_len = 4097}, "max_model_len must be 1 to 4096"},
      {{.max_model_len = -1}, "max_model_len"},
      {{.max_sequences = 0}, "max_sequences"},
      {{.max_rows_per_step = 0}, "max_rows_per_step"},
      {{.max_rows_per_step = int64_t{1} << 60}, "max_rows_per_step"},
      {{.memory_utilization = 0}, "memory_utilization"},
      {{.memory_utilization = 1.01}, "memory_utilization"},
      {{.num_blocks = -1}, "num_blocks"},
      {{.num_blocks = int64_t{1} << 40}, "num_blocks"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(
        MakePlan(spec, devices, test.options),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(test.message)));
  }
  EXPECT_THAT(MakePlan(ModelSpec(), devices, {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  std::vector<DeviceSpec> broken = devices;
  broken[2].memory_bytes = -1;
  EXPECT_THAT(MakePlan(spec, broken, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("device node-2/cpu: memory")));
}

}  // namespace
}  // namespace caravan::partition
