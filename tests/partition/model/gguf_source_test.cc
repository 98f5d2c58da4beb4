#include "partition/model/gguf_source.h"

#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/partition/model/gguf_model.h"
#include "tests/support/real_model.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

TEST(GgufSourceTest, DeliversEveryType) {
  const std::map<uint32_t, DType> types = {
      {kF32, DType::kFloat32},   {kF16, DType::kFloat16},
      {kBF16, DType::kBFloat16}, {kQ8_0, DType::kFloat32},
      {kQ4_0, DType::kFloat32},  {kQ4_1, DType::kFloat32}};
  for (const auto& [type, dtype] : types) {
    const GgufModel model(WideSpec(), type);
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
    EXPECT_EQ(source->spec().dtype, dtype);
    for (const NamedShape& shape : ExpectedTensors(model.spec)) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const TensorInfo info,
                                   source->Find(shape.name));
      EXPECT_EQ(info.dtype, shape.rows == 1 ? DType::kFloat32 : dtype);
      EXPECT_EQ(info.rows, shape.rows);
      EXPECT_EQ(info.cols, shape.cols);
      EXPECT_EQ(ReadFloats(*source, shape.name, {0, shape.rows, 0, shape.cols}),
                model.values.at(shape.name))
          << shape.name << " type " << type;
    }
  }
}

TEST(GgufSourceTest, ReadsOnlyTheBlocksOfASlice) {
  const GgufModel model(WideSpec(), kQ4_0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
  EXPECT_EQ(source->BytesRead(), 0);
  struct Case {
    TensorSlice slice;
    int64_t blocks;
  };
  int64_t expected = 0;
  const std::string down = LayerTensor(0, kDown);  // (64, 96)
  for (const Case& each : std::vector<Case>{{{0, 64, 0, 96}, 64 * 3},
                                            {{5, 9, 0, 96}, 4 * 3},
                                            {{5, 9, 32, 64}, 4},
                                            {{5, 9, 31, 33}, 4 * 2},
                                            {{63, 64, 95, 96}, 1},
                                            {{5, 5, 0, 96}, 0},
                                            {{5, 9, 7, 7}, 0}}) {
    EXPECT_EQ(ReadFloats(*source, down, each.slice),
              model.Expected(down, each.slice, 96));
    expected += each.blocks * 18;
    EXPECT_EQ(source->BytesRead(), expected);
  }
  // One head and half a head of permuted rows.
  const std::string query = LayerTensor(1, kQuery);  // (64, 64)
  for (const TensorSlice& slice :
       std::vector<TensorSlice>{{16, 32, 0, 64}, {24, 33, 20, 50}}) {
    EXPECT_EQ(ReadFloats(*source, query, slice),
              model.Expected(query, slice, 64));
    expected += slice.rows() * 2 * 18;
    EXPECT_EQ(source->BytesRead(), expected);
  }
}

TEST(GgufSourceTest, FingerprintTellsFilesApart) {
  const auto fingerprint = [](const GgufModel& model) {
    const auto source = model.Open();
    CARAVAN_EXPECT_OK(source);
    return source.ok() ? (*source)->Fingerprint() : "";
  };
  const std::string original = fingerprint(GgufModel(SmallSpec(), kF16));
  EXPECT_EQ(original.size(), 64u);
  EXPECT_EQ(fingerprint(GgufModel(SmallSpec(), kF16)), original);
  EXPECT_NE(fingerprint(GgufModel(SmallSpec(), kBF16)), original);
  GgufModel renamed(SmallSpec(), kF16);
  renamed.builder.String("general.name", "x");
  EXPECT_NE(fingerprint(renamed), original);
}

// Golden values: tests/partition/model/gguf_goldens.py.
TEST(GgufSourceTest, ReadsTheRealModel) {
  const std::string path = testing::RealModelFile();
  if (path.empty()) GTEST_SKIP() << testing::kNoRealModel;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, OpenGgufSource(path));
  const ModelSpec& spec = source->spec();
  EXPECT_EQ(CountParameters(spec), 134515008);
  EXPECT_EQ(spec.num_heads, 9);
  EXPECT_EQ(spec.num_kv_heads, 3);
  EXPECT_EQ(spec.rope.theta, 100000.0);
  EXPECT_TRUE(spec.tied_embeddings);
  struct Golden {
    std::string tensor;
    int64_t row;
    int64_t col;
    std::vector<float> values;
  };
  for (const Golden& golden : std::vector<Golden>{
           {"model.embed_tokens.weight",
            49151,
            573,
            {0.12858200073242188f, -0.11989402770996094f,
             -0.0417022705078125f}},
           {"model.layers.0.self_attn.q_proj.weight",
            33,
            30,
            {0.07550048828125f, 0.49041748046875f, -0.2889404296875f}},
           {"model.layers.0.self_attn.q_proj.weight",
            95,
            0,
            {0.00030517578125f, 0.20806884765625f, -0.10357666015625f}},
           {"model.layers.7.self_attn.k_proj.weight",
            130,
            100,
            {0.0047607421875f, 0.0047607421875f, -0.156982421875f}},
           {"model.layers.7.self_attn.v_proj.weight",
            130,
            100,
            {-0.01806640625f, 0.1866455078125f, -0.12042236328125f}},
           {"model.layers.29.self_attn.o_proj.weight",
            1,
            62,
            {-0.240234375f, -0.142578125f, -0.11328125f}},
           {"model.layers.29.mlp.down_proj.weight",
            575,
            1533,
            {0.203125f, -0.08984375f, 0.056640625f}},
           {"model.layers.3.input_layernorm.weight",
            0,
            10,
            {0.265625f, 0.2373046875f, 0.29296875f}},
           {"model.norm.weight", 0, 573, {1.8828125f, 1.921875f, 1.984375f}},

       }) {
    const TensorSlice slice = {
        golden.row, golden.row + 1, golden.col,
        golden.col + static_cast<int64_t>(golden.values.size())};
    EXPECT_EQ(ReadFloats(*source, golden.tensor, slice), golden.values)
        << golden.tensor;
  }
}

}  // namespace
}  // namespace caravan::partition
