#include "partition/model/gguf_source.h"

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/weight_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/partition/model/gguf_model.h"
#include "tests/support/real_model.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

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
      EXPECT_EQ(info.dtype(), shape.rows == 1 ? DType::kFloat32 : dtype);
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

// The model's own rows, of a slice of whole blocks.
std::vector<std::byte> StoredBytes(const GgufModel& model,
                                   const std::string& name,
                                   const TensorSlice& slice, int64_t cols,
                                   WeightFormat format) {
  std::vector<std::byte> bytes;
  for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
    const std::string& text = model.row_bytes.at(name)[row];
    EXPECT_EQ(static_cast<int64_t>(text.size()), ByteSize(format, cols));
    const auto* at = reinterpret_cast<const std::byte*>(text.data());
    bytes.insert(bytes.end(), at + ByteSize(format, slice.col_begin),
                 at + ByteSize(format, slice.col_end));
  }
  return bytes;
}

TEST(GgufSourceTest, ReadsAsStored) {
  const std::map<uint32_t, WeightFormat> types = {
      {kF32, WeightFormat::kFloat32},   {kF16, WeightFormat::kFloat16},
      {kBF16, WeightFormat::kBFloat16}, {kQ8_0, WeightFormat::kQ8},
      {kQ4_0, WeightFormat::kQ4},       {kQ4_1, WeightFormat::kQ4Minimum}};
  for (const auto& [type, format] : types) {
    SCOPED_TRACE(Name(format));
    const GgufModel model(WideSpec(), type);
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
    const std::string down = LayerTensor(0, kDown);    // (64, 96)
    const std::string query = LayerTensor(1, kQuery);  // (64, 64), permuted
    const std::string embedding(kEmbedding);
    int64_t expected_bytes = 0;
    for (const auto& [name, cols, slice] :
         std::vector<std::tuple<std::string, int64_t, TensorSlice>>{
             {down, 96, {0, 64, 0, 96}},
             {down, 96, {5, 9, 32, 96}},
             {down, 96, {5, 9, 64, 64}},
             {down, 96, {7, 7, 0, 32}},
             {query, 64, {0, 64, 0, 64}},
             {query, 64, {24, 33, 32, 64}},
             {embedding, 64, {3, 37, 0, 64}}}) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const TensorInfo info, source->Find(name));
      EXPECT_EQ(info.stored, format);
      std::vector<std::byte> bytes(slice.rows() *
                                   ByteSize(format, slice.cols()));
      CARAVAN_ASSERT_OK(source->ReadStored(name, slice, absl::MakeSpan(bytes)));
      EXPECT_EQ(bytes, StoredBytes(model, name, slice, cols, format));
      expected_bytes += static_cast<int64_t>(bytes.size());
      EXPECT_EQ(source->BytesRead(), expected_bytes);
      std::vector<float> decoded(slice.count());
      Decode(format, bytes, absl::MakeSpan(decoded));
      EXPECT_EQ(decoded, model.Expected(name, slice, cols));
    }
  }
}

TEST(GgufSourceTest, RefusesToCutBlocks) {
  const GgufModel model(WideSpec(), kQ8_0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
  std::vector<std::byte> bytes(34);
  for (const TensorSlice& slice : std::vector<TensorSlice>{
           {0, 1, 0, 16}, {0, 1, 16, 48}, {0, 1, 31, 63}}) {
    EXPECT_THAT(
        source->ReadStored(LayerTensor(0, kDown), slice, absl::MakeSpan(bytes)),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 HasSubstr("cut blocks of 32 (q8)")));
  }
  EXPECT_THAT(source->ReadStored(LayerTensor(0, kDown), {0, 2, 0, 32},
                                 absl::MakeSpan(bytes)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("68 bytes, there is room for 34")));
  EXPECT_THAT(
      source->ReadStored("nothing", {0, 1, 0, 32}, absl::MakeSpan(bytes)),
      StatusIs(absl::StatusCode::kNotFound));
}

TEST(GgufSourceTest, TheSpecSaysWhatIsQuantized) {
  for (uint32_t type : {kF32, kF16, kBF16}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                                 GgufModel(WideSpec(), type).Open());
    EXPECT_FALSE(source->spec().is_quantized());
  }
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               GgufModel(WideSpec(), kQ4_1).Open());
  const StoredFormats& stored = source->spec().stored;
  EXPECT_EQ(stored.embedding, WeightFormat::kQ4Minimum);
  EXPECT_EQ(stored.head, WeightFormat::kQ4Minimum);
  ASSERT_EQ(stored.layers.size(), 2u);
  EXPECT_EQ(stored.layers[1].attention_output, WeightFormat::kQ4Minimum);
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
