// What a rank allocates on a GPU, here the emulated device, before its first
// step, against its plan. golden_cuda_test.cc: steps allocate nothing.

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "partition/model/model_source.h"
#include "partition/model/tensor_names.h"
#include "partition/plan/plan.h"
#include "tests/emulated_device/control.h"
#include "tests/support/engine_plan.h"
#include "tests/support/model_golden.h"
#include "tests/support/quantized_source.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/comm/local/local_world.h"
#include "worker/engine/decoder_setup.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::ChooseFormat;
using ::caravan::testing::MakeQuantizedSource;
using ::caravan::testing::QuantizableSpec;
using emulated::AllocatedBytes;
using partition::ModelSource;
using partition::PlanOptions;
using partition::Quantization;

// The plan twice: with its bytes, and as engines get it.
struct Plans {
  partition::Plan plan;
  v1::EnginePlan engine;
};

absl::StatusOr<Plans> MakePlans(const ModelSource& source,
                                PlanOptions options) {
  options.weight_dtype = source.spec().dtype;  // the engine's "auto"
  const std::vector<partition::DeviceSpec> devices(
      options.tp * options.pp,
      {.kind = partition::DeviceKind::kGpu, .memory_bytes = int64_t{1} << 40});
  Plans plans;
  CARAVAN_ASSIGN_OR_RETURN(
      plans.plan, partition::MakePlan(source.spec(), devices, options));
  CARAVAN_ASSIGN_OR_RETURN(
      plans.engine,
      testing::MakeEnginePlan(
          source.spec(),
          {.tp = options.tp,
           .pp = options.pp,
           .num_blocks = plans.plan.num_blocks,
           .max_model_len = plans.plan.options.max_model_len,
           .max_rows_per_step = options.max_rows_per_step,
           .quantization = std::string(Name(options.quantization)),
           .kv_cache_dtype =
               std::string(Name(plans.plan.ranks[0].kv_cache_dtype))}));
  plans.engine.set_max_sequences(options.max_sequences);
  return plans;
}

// Makes every rank's decoder, one after another; each takes what the plan says.
void ExpectPlannedBytes(const ModelSource& source, const PlanOptions& options) {
  SCOPED_TRACE(::testing::Message()
               << "tp=" << options.tp << " pp=" << options.pp << " "
               << Name(options.quantization)
               << " max_model_len=" << options.max_model_len);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const Plans plans, MakePlans(source, options));
  const auto worlds = CreateLocalWorlds(options.tp);
  std::vector<int> members(options.tp);
  std::iota(members.begin(), members.end(), 0);
  for (const partition::RankPlan& rank : plans.plan.ranks) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto group,
                                 worlds[rank.tp_rank]->CreateGroup(
                                     {.name = "tp", .world_ranks = members}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto backend,
                                 CreateCudaBackend(CudaBackendOptions{
                                     .deterministic = options.deterministic}));
    const int64_t before = AllocatedBytes(0);
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const auto decoder,
        CreateDecoder({.plan = &plans.engine,
                       .rank = &plans.engine.ranks(rank.rank),
                       .source = &source,
                       .backend = backend.get(),
                       .group = group.get()}));
    EXPECT_EQ(
        AllocatedBytes(0) - before,
        rank.memory.weights + rank.memory.kv_cache + rank.memory.activations)
        << "rank=" << rank.rank;
  }
}

WeightFormat Mixed(absl::string_view tensor) {
  return absl::StrContains(tensor, partition::kValue) ? WeightFormat::kQ4Minimum
         : absl::StrContains(tensor, partition::kUp)  ? WeightFormat::kFloat16
         : absl::StrContains(tensor, "layers.1")      ? WeightFormat::kQ4
                                                      : WeightFormat::kQ8;
}

// In every way to hold them, whole and divided.
void ExpectPlannedBytes(const partition::ModelSpec& spec,
                        const ChooseFormat& stored) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               MakeQuantizedSource(spec, stored));
  for (const Quantization quantization :
       {Quantization::kAuto, Quantization::kNone, Quantization::kQ4}) {
    for (const auto& [tp, pp] :
         {std::pair(1, 1), std::pair(2, 1), std::pair(3, 2)}) {
      ExpectPlannedBytes(*source, {.tp = tp,
                                   .pp = pp,
                                   .quantization = quantization,
                                   .max_sequences = 7,
                                   .max_rows_per_step = 50 + tp,
                                   .num_blocks = 4});
    }
  }
}

WeightFormat BFloat16(absl::string_view) { return WeightFormat::kBFloat16; }

TEST(GpuMemoryTest, RanksAllocateWhatThePlanSays) {
  ExpectPlannedBytes(QuantizableSpec(), BFloat16);
  ExpectPlannedBytes(QuantizableSpec(), Mixed);
  partition::ModelSpec tied = QuantizableSpec();
  tied.tied_embeddings = true;
  ExpectPlannedBytes(tied, Mixed);
}

TEST(GpuMemoryTest, DeterministicRanksHaveNoLibrary) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto source, MakeQuantizedSource(QuantizableSpec(), BFloat16));
  ExpectPlannedBytes(*source, {.num_blocks = 4, .deterministic = true});
}

TEST(GpuMemoryTest, CutBlocksUnfilledUnitsAndLongContexts) {
  partition::ModelSpec odd = QuantizableSpec();
  odd.num_heads = 5;
  odd.num_kv_heads = 5;
  odd.head_dim = 14;
  odd.max_positions = 1000;
  ExpectPlannedBytes(odd, BFloat16);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               MakeQuantizedSource(odd, BFloat16));
  for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
    ExpectPlannedBytes(*source, {.kv_cache_dtype = dtype, .num_blocks = 4});
  }
}

TEST(GpuMemoryTest, MoreHeadsThanShareATileAndAVocabularyOfTwoPieces) {
  partition::ModelSpec grouped = QuantizableSpec();
  grouped.num_heads = 20;
  grouped.num_kv_heads = 1;
  grouped.head_dim = 8;
  grouped.vocab_size = 9000;
  ExpectPlannedBytes(grouped, Mixed);
}

TEST(GpuMemoryTest, MuchIsReservedForManyRows) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto source,
      partition::OpenModel({.path = testing::GoldenFolder("multi_head")}));
  ExpectPlannedBytes(
      *source,
      {.max_sequences = 300, .max_rows_per_step = 2048, .num_blocks = 100});
}

// Another process may have the rest.
TEST(GpuMemoryTest, LoadsNothingWhereTooLittleIsFree) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto source, MakeQuantizedSource(QuantizableSpec(), BFloat16));
  CARAVAN_ASSERT_OK_AND_ASSIGN(Plans plans,
                               MakePlans(*source, {.num_blocks = 4}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto backend,
                               CreateCudaBackend(CudaBackendOptions{}));
  ASSERT_TRUE(backend->Info().free_bytes.has_value());
  const int64_t free = *backend->Info().free_bytes;
  v1::RankPlan rank = plans.engine.ranks(0);
  rank.set_weight_bytes(1000);
  rank.set_activation_bytes(100);
  rank.set_kv_cache_bytes(free - 1099);
  const auto worlds = CreateLocalWorlds(1);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto group,
      worlds[0]->CreateGroup({.name = "alone", .world_ranks = {0}}));
  const auto create = [&] {
    return CreateDecoder({.plan = &plans.engine,
                          .rank = &rank,
                          .source = source.get(),
                          .backend = backend.get(),
                          .group = group.get()});
  };
  const int64_t before = AllocatedBytes(0);
  EXPECT_THAT(create(), testing::StatusIs(absl::StatusCode::kResourceExhausted,
                                          ::testing::HasSubstr(absl::StrCat(
                                              "planned=", free + 1))));
  EXPECT_EQ(AllocatedBytes(0), before);
  rank.set_kv_cache_bytes(free - 1100);
  CARAVAN_EXPECT_OK(create());
}

}  // namespace
}  // namespace caravan::worker
