#include "partition/plan/held_format.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "partition/model/named_models.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using enum WeightFormat;

constexpr Range kWhole = {0, 4096};
constexpr Range kCut = {48, 96};

WeightFormat Held(std::vector<WeightFormat> stored, Quantization quantization,
                  const Range& columns = kWhole) {
  return HeldFormat(stored, columns,
                    {.quantization = quantization, .dtype = DType::kFloat16});
}

ModelSpec StoredAs(WeightFormat format) {
  ModelSpec spec = *NamedModelSpec("llama-2-7b");
  spec.dtype = DType::kFloat32;
  spec.stored = {.embedding = format, .head = format};
  spec.stored.layers.resize(spec.num_layers, {format, format, format, format,
                                              format, format, format});
  return spec;
}

TEST(HeldFormatTest, NamesAreFlags) {
  for (Quantization quantization : {Quantization::kAuto, Quantization::kNone,
                                    Quantization::kQ8, Quantization::kQ4}) {
    EXPECT_THAT(ParseQuantization(Name(quantization)),
                IsOkAndHolds(quantization));
  }
  for (const char* name : {"", "q5", "Q8", "int4"}) {
    EXPECT_THAT(ParseQuantization(name),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("auto, none, q8 or q4")));
  }
}

TEST(HeldFormatTest, AutoKeepsWhatIsStored) {
  for (WeightFormat format : {kQ8, kQ4, kQ4Minimum}) {
    EXPECT_EQ(Held({format}, Quantization::kAuto), format);
    EXPECT_EQ(Held({format, format, format}, Quantization::kAuto), format);
  }
  // What is not quantized is held as --dtype says.
  EXPECT_EQ(Held({kBFloat16}, Quantization::kAuto), kFloat16);
  EXPECT_EQ(Held({kBFloat16, kFloat32}, Quantization::kAuto, kCut), kFloat16);
}

TEST(HeldFormatTest, AutoJoinsWithoutLoss) {
  const struct {
    std::vector<WeightFormat> stored;
    WeightFormat held;
  } cases[] = {{{kQ4, kQ4Minimum}, kQ4Minimum},
               {{kQ4Minimum, kQ4, kQ4}, kQ4Minimum},
               {{kQ8, kQ4}, kQ8},
               {{kQ4, kQ4, kQ8}, kQ8},
               {{kQ8, kQ4Minimum}, kFloat32},
               {{kQ4, kQ4Minimum, kQ8}, kFloat32},
               {{kQ4, kFloat16}, kFloat32},
               {{kBFloat16, kQ8}, kFloat32}};
  for (const auto& test : cases) {
    EXPECT_EQ(Held(test.stored, Quantization::kAuto), test.held);
    for (WeightFormat stored : test.stored) {
      EXPECT_TRUE(ConvertsExactly(stored, test.held));
    }
  }
}

TEST(HeldFormatTest, WhatCutsBlocksIsDecoded) {
  for (const Range& columns : {kCut, Range{0, 48}, Range{16, 4096}}) {
    for (Quantization quantization : {Quantization::kAuto, Quantization::kQ4}) {
      EXPECT_EQ(Held({kQ4}, quantization, columns), kFloat32);
    }
    EXPECT_EQ(Held({kBFloat16}, Quantization::kQ4, columns), kFloat16);
    EXPECT_EQ(Held({kBFloat16}, Quantization::kQ8, columns), kFloat16);
    EXPECT_EQ(Held({kQ8}, Quantization::kNone, columns), kFloat16);
  }
}

TEST(HeldFormatTest, NoneDecodes) {
  for (WeightFormat format : {kQ8, kQ4, kQ4Minimum, kBFloat16}) {
    EXPECT_EQ(Held({format}, Quantization::kNone), kFloat16);
  }
}

TEST(HeldFormatTest, QuantizesWhatIsAskedFor) {
  for (WeightFormat format : {kFloat32, kFloat16, kBFloat16, kQ8}) {
    EXPECT_EQ(Held({format}, Quantization::kQ8), kQ8);
    EXPECT_EQ(Held({format}, Quantization::kQ4), kQ4);
  }
  EXPECT_EQ(Held({kQ4}, Quantization::kQ4), kQ4);
  EXPECT_EQ(Held({kQ4Minimum}, Quantization::kQ4), kQ4Minimum);
  EXPECT_EQ(Held({kBFloat16, kQ4Minimum, kQ8}, Quantization::kQ4), kQ4Minimum);
}

TEST(HeldFormatTest, FourBitsDoNotBecomeEight) {
  for (WeightFormat format : {kQ4, kQ4Minimum}) {
    EXPECT_THAT(CheckQuantization(StoredAs(format), Quantization::kQ8),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("auto and q4 compute with them")));
    for (Quantization quantization :
         {Quantization::kAuto, Quantization::kNone, Quantization::kQ4}) {
      CARAVAN_EXPECT_OK(CheckQuantization(StoredAs(format), quantization));
    }
  }
  CARAVAN_EXPECT_OK(CheckQuantization(StoredAs(kQ8), Quantization::kQ8));
  CARAVAN_EXPECT_OK(
      CheckQuantization(*NamedModelSpec("llama-2-7b"), Quantization::kQ8));
  // One tensor is enough.
  ModelSpec spec = StoredAs(kQ8);
  spec.stored.layers.back().down = kQ4;
  EXPECT_FALSE(CheckQuantization(spec, Quantization::kQ8).ok());
}

TEST(HeldFormatTest, EachMatrixOfALayerByItsOwnTensors) {
  ModelSpec spec = StoredAs(kQ4);
  LayerFormats& layer = spec.stored.layers[3];
  layer.value = kQ4Minimum;
  layer.up = kQ8;
  layer.down = kQ8;
  spec.stored.head = kQ8;
  const TensorShard whole = (*ShardTensors(spec, 1))[0];
  const HeldLayer held = HeldLayerFormats(spec, whole, {}, 3);
  EXPECT_EQ(held.qkv, kQ4Minimum);
  EXPECT_EQ(held.attention_output, kQ4);
  EXPECT_EQ(held.gate_up, kQ8);
  EXPECT_EQ(held.down, kQ8);
  EXPECT_EQ(HeldLayerFormats(spec, whole, {}, 2).qkv, kQ4);
  EXPECT_EQ(HeldEmbedding(spec, {}), kQ4);
  EXPECT_EQ(HeldHead(spec, {}), kQ8);
}

// Three heads of 80 are 7.5 blocks: only the attention output is cut by them.
TEST(HeldFormatTest, HeadsThatCutBlocksDecodeTheAttentionOutput) {
  ModelSpec spec = StoredAs(kQ8);
  spec.head_dim = 80;
  spec.num_heads = 6;
  spec.num_kv_heads = 6;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto shards, ShardTensors(spec, 2));
  for (const TensorShard& shard : shards) {
    const HeldLayer held = HeldLayerFormats(spec, shard, {}, 0);
    EXPECT_EQ(held.attention_output, kFloat32);
    EXPECT_EQ(held.qkv, kQ8);
    EXPECT_EQ(held.gate_up, kQ8);
    EXPECT_EQ(held.down, kQ8);
  }
}

// Whatever the degree, MLP columns are divided between blocks.
TEST(HeldFormatTest, TheMlpIsNeverCut) {
  for (const char* name : {"llama-2-7b", "llama-2-13b", "llama-2-70b"}) {
    const ModelSpec spec = *NamedModelSpec(name);
    for (int tp = 1; tp <= spec.num_heads; ++tp) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const auto shards, ShardTensors(spec, tp));
      for (const TensorShard& shard : shards) {
        const HeldLayer held = HeldLayerFormats(
            spec, shard, {.quantization = Quantization::kQ4}, 0);
        EXPECT_EQ(held.down, kQ4) << name << " tp=" << tp;
        EXPECT_EQ(held.attention_output, kQ4) << name << " tp=" << tp;
      }
    }
  }
}

}  // namespace
}  // namespace caravan::partition
