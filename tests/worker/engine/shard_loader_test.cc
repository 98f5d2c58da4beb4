#include "worker/engine/shard_loader.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "partition/model/tensor_names.h"
#include "partition/plan/plan.h"
#include "tests/support/engine_plan.h"
#include "tests/support/quantized_source.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/engine/matrix_parts.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::ChooseFormat;
using ::caravan::testing::MakeQuantizedSource;
using ::caravan::testing::QuantizableSpec;
using partition::ModelSource;
using partition::Quantization;

int64_t BytesOf(const DecoderWeights& weights) {
  int64_t bytes = 0;
  const auto add_norm = [&bytes](const NormWeights& norm) {
    if (norm.buffer != nullptr) bytes += norm.buffer->bytes();
  };
  if (weights.embedding != nullptr) bytes += weights.embedding->bytes();
  if (weights.head != nullptr && weights.head != weights.embedding) {
    bytes += weights.head->bytes();
  }
  add_norm(weights.final_norm);
  for (const LayerWeights& layer : weights.layers) {
    add_norm(layer.input_norm);
    add_norm(layer.mlp_norm);
    bytes += layer.qkv->bytes() + layer.attention_output->bytes() +
             layer.gate_up->bytes() + layer.down->bytes();
  }
  return bytes;
}

// Loads every rank of a plan; each holds exactly what the plan says.
void ExpectPlannedBytes(const ModelSource& source,
                        const partition::PlanOptions& options) {
  const std::vector<partition::DeviceSpec> devices(
      options.tp * options.pp, {.memory_bytes = int64_t{1} << 40});
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const partition::Plan plan,
      partition::MakePlan(source.spec(), devices, options));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const v1::EnginePlan proto,
      testing::MakeEnginePlan(source.spec(),
                              {.tp = options.tp, .pp = options.pp}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto backend, CreateCpuBackend({}));
  for (const partition::RankPlan& rank : plan.ranks) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const DecoderWeights weights,
                                 LoadShard(source,
                                           {.rank = &proto.ranks(rank.rank),
                                            .has_embedding = rank.has_embedding,
                                            .has_head = rank.has_head,
                                            .hold = options.hold()},
                                           *backend));
    EXPECT_EQ(BytesOf(weights), rank.memory.weights)
        << "rank=" << rank.rank << " tp=" << options.tp << " pp=" << options.pp
        << " " << Name(options.quantization);
  }
}

WeightFormat Mixed(absl::string_view tensor) {
  return absl::StrContains(tensor, partition::kValue) ? WeightFormat::kQ4Minimum
         : absl::StrContains(tensor, partition::kUp)  ? WeightFormat::kFloat16
         : absl::StrContains(tensor, "layers.1")      ? WeightFormat::kQ4
                                                      : WeightFormat::kQ8;
}

TEST(ShardLoaderTest, RanksHoldWhatThePlanSays) {
  partition::ModelSpec tied = QuantizableSpec();
  tied.tied_embeddings = true;
  partition::ModelSpec cut = QuantizableSpec();
  cut.num_heads = 4;
  cut.num_kv_heads = 4;
  cut.head_dim = 16;
  const auto all = [](WeightFormat format) {
    return [format](absl::string_view) { return format; };
  };
  for (const partition::ModelSpec& spec : {QuantizableSpec(), tied, cut}) {
    for (const ChooseFormat& choose :
         {ChooseFormat(all(WeightFormat::kBFloat16)),
          ChooseFormat(all(WeightFormat::kQ4)), ChooseFormat(Mixed)}) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                                   MakeQuantizedSource(spec, choose));
      for (Quantization quantization :
           {Quantization::kAuto, Quantization::kNone, Quantization::kQ8,
            Quantization::kQ4}) {
        if (!CheckQuantization(source->spec(), quantization).ok()) continue;
        for (const auto& [tp, pp] :
             {std::pair(1, 1), std::pair(2, 1), std::pair(3, 2)}) {
          ExpectPlannedBytes(*source, {.tp = tp,
                                       .pp = pp,
                                       .quantization = quantization,
                                       .num_blocks = 4});
        }
      }
    }
  }
}

std::vector<float> Delivered(const MatrixReader& reader) {
  std::vector<std::byte> bytes(reader.rows *
                               ByteSize(reader.format, reader.cols));
  CARAVAN_EXPECT_OK(reader.read_rows(0, reader.rows, absl::MakeSpan(bytes)));
  std::vector<float> values(reader.rows * reader.cols);
  Decode(reader.format, bytes, absl::MakeSpan(values));
  return values;
}

TEST(MatrixPartsTest, DeliversTheValuesThatAreStored) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               MakeQuantizedSource(QuantizableSpec(), Mixed));
  const auto name = [](int layer, absl::string_view part) {
    return partition::LayerTensor(layer, part);
  };
  using enum WeightFormat;
  const struct {
    std::vector<MatrixPart> parts;
    WeightFormat held;
    WeightFormat delivered;
  } cases[] = {
      // All alike; 4 bits with and without minimum; a cut block.
      {{{name(1, partition::kQuery), {5, 70, 0, 256}},
        {name(1, partition::kKey), {1, 33, 0, 256}}},
       kQ4,
       kQ4},
      {{{name(1, partition::kQuery), {5, 70, 0, 256}},
        {name(1, partition::kValue), {0, 96, 0, 256}}},
       kQ4Minimum,
       kQ4Minimum},
      {{{name(1, partition::kDown), {0, 256, 32, 96}}}, kQ4, kQ4},
      {{{name(1, partition::kDown), {0, 256, 16, 96}}}, kFloat32, kFloat32},
      {{{name(0, partition::kGate), {0, 40, 0, 256}},
        {name(0, partition::kUp), {0, 40, 0, 256}}},
       kFloat32,
       kFloat32},
      {{{name(0, partition::kDown), {0, 256, 0, 352}}}, kBFloat16, kQ8},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.parts[0].tensor);
    CARAVAN_ASSERT_OK_AND_ASSIGN(const MatrixReader reader,
                                 JoinParts(*source, test.parts, test.held));
    EXPECT_EQ(reader.format, test.delivered);
    std::vector<float> expected;
    for (const MatrixPart& part : test.parts) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const std::vector<float> values,
                                   ReadFloats(*source, part));
      expected.insert(expected.end(), values.begin(), values.end());
    }
    EXPECT_EQ(Delivered(reader), expected);
  }
}

TEST(ShardLoaderTest, NamesTheTensorThatCannotBeRead) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               MakeQuantizedSource(QuantizableSpec(), Mixed));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EnginePlan proto,
                               testing::MakeEnginePlan(source->spec(), {}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto backend, CreateCpuBackend({}));
  v1::RankPlan rank = proto.ranks(0);
  rank.mutable_mlp_columns()->set_end(5000);
  EXPECT_THAT(LoadShard(*source, {.rank = &rank}, *backend),
              testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                ::testing::HasSubstr("mlp.gate_proj")));
}

}  // namespace
}  // namespace caravan::worker
