#include "partition/model/gguf_source.h"

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "partition/model/gguf_rope.h"
#include "partition/model/gguf_spec.h"
#include "tests/partition/model/checkpoint_builder.h"
#include "tests/partition/model/gguf_builder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Code = absl::StatusCode;

constexpr uint32_t kF32 = 0;
constexpr uint32_t kF16 = 1;
constexpr uint32_t kQ4_0 = 2;
constexpr uint32_t kQ4_1 = 3;
constexpr uint32_t kQ8_0 = 8;
constexpr uint32_t kBF16 = 30;

// Widths that 32 divides, for quantized rows.
ModelSpec WideSpec() {
  ModelSpec spec = SmallSpec();
  spec.hidden_size = 64;
  spec.intermediate_size = 96;
  spec.head_dim = 16;
  spec.num_heads = 4;
  spec.num_kv_heads = 2;
  return spec;
}

// A scale of 1/2 and quants that a hash of the block's place gives; returns the
// bytes and appends the 32 values.
std::string Block(uint32_t type, uint64_t place, std::vector<float>& values) {
  std::string bytes = Encode(DType::kFloat16, 0.5f);
  if (type == kQ4_1) bytes += Encode(DType::kFloat16, -3.0f);
  std::vector<int> quants;
  for (int i = 0; i < 32; ++i) {
    const uint64_t hash = (place * 32 + i + 1) * 0x9e3779b97f4a7c15u;
    quants.push_back(static_cast<int>(hash >> (type == kQ8_0 ? 56 : 60)));
  }
  for (int i = 0; i < (type == kQ8_0 ? 32 : 16); ++i) {
    bytes.push_back(static_cast<char>(
        type == kQ8_0 ? quants[i] - 128 : quants[i] | quants[i + 16] << 4));
  }
  for (int quant : quants) {
    values.push_back(type == kQ8_0   ? (quant - 128) * 0.5f
                     : type == kQ4_0 ? (quant - 8) * 0.5f
                                     : quant * 0.5f - 3.0f);
  }
  return bytes;
}

// The converter's permutation of query and key rows, the other way round from
// the reader's: reshape (heads, 2, head_dim / 2), swap the last two.
std::vector<int64_t> ConvertedOrder(int64_t rows, int64_t head_dim) {
  std::vector<int64_t> order;
  for (int64_t head = 0; head < rows; head += head_dim) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      order.push_back(head + i);
      order.push_back(head + head_dim / 2 + i);
    }
  }
  return order;
}

// A whole model in one type; `values` gets what must be delivered, by Hugging
// Face's names.
class Model final {
 public:
  Model(const ModelSpec& spec, uint32_t type) : spec(spec) {
    builder.String("general.architecture", "llama")
        .Uint32("llama.context_length", spec.max_positions)
        .Uint32("llama.embedding_length", spec.hidden_size)
        .Uint32("llama.block_count", spec.num_layers)
        .Uint32("llama.feed_forward_length", spec.intermediate_size)
        .Uint32("llama.attention.head_count", spec.num_heads)
        .Uint32("llama.attention.head_count_kv", spec.num_kv_heads)
        .Float32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (const NamedShape& shape : ExpectedTensors(spec)) {
      AddTensor(shape, shape.rows == 1 ? kF32 : type);
    }
  }

  absl::StatusOr<std::unique_ptr<ModelSource>> Open() const {
    return MakeGgufSource(MemoryFile("test.gguf", builder.Build()));
  }

  std::vector<float> Expected(const std::string& name, const TensorSlice& slice,
                              int64_t cols) const {
    std::vector<float> part;
    for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
      const auto begin = values.at(name).begin() + row * cols;
      part.insert(part.end(), begin + slice.col_begin, begin + slice.col_end);
    }
    return part;
  }

  const ModelSpec spec;
  GgufBuilder builder;
  std::map<std::string, std::vector<float>> values;

 private:
  std::string Row(const NamedShape& shape, int64_t row, uint32_t type,
                  std::vector<float>& out) {
    std::string bytes;
    if (type == kQ4_0 || type == kQ4_1 || type == kQ8_0) {
      for (int64_t col = 0; col < shape.cols; col += 32) {
        bytes += Block(type, row * 1000 + col + shape.name.size(), out);
      }
      return bytes;
    }
    const DType dtype = type == kF32   ? DType::kFloat32
                        : type == kF16 ? DType::kFloat16
                                       : DType::kBFloat16;
    for (int64_t col = 0; col < shape.cols; ++col) {
      out.push_back(Pattern(shape.name, row, col));
      bytes += Encode(dtype, out.back());
    }
    return bytes;
  }

  void AddTensor(const NamedShape& shape, uint32_t type) {
    std::vector<std::string> rows;
    for (int64_t row = 0; row < shape.rows; ++row) {
      rows.push_back(Row(shape, row, type, values[shape.name]));
    }
    std::string bytes;
    if (absl::StrContains(shape.name, "q_proj") ||
        absl::StrContains(shape.name, "k_proj")) {
      for (int64_t row : ConvertedOrder(shape.rows, spec.head_dim)) {
        bytes += rows[row];
      }
    } else {
      for (const std::string& row : rows) bytes += row;
    }
    std::vector<uint64_t> sizes = {static_cast<uint64_t>(shape.cols)};
    if (shape.rows > 1) sizes.push_back(static_cast<uint64_t>(shape.rows));
    builder.Tensor(GgufTensorName(shape.name), sizes, type, bytes);
  }
};

TEST(GgufSourceTest, DeliversEveryType) {
  const std::map<uint32_t, DType> types = {
      {kF32, DType::kFloat32},   {kF16, DType::kFloat16},
      {kBF16, DType::kBFloat16}, {kQ8_0, DType::kFloat32},
      {kQ4_0, DType::kFloat32},  {kQ4_1, DType::kFloat32}};
  for (const auto& [type, dtype] : types) {
    const Model model(WideSpec(), type);
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
  const Model model(WideSpec(), kQ4_0);
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

TEST(GgufSourceTest, ReadsTheSpec) {
  Model model(SmallSpec(), kF16);
  model.builder.Float32("llama.rope.freq_base", 50000.0f)
      .Uint32("llama.rope.dimension_count", 8)
      .Uint32("llama.attention.key_length", 8)
      .Uint32("llama.attention.value_length", 8)
      .Uint32("llama.vocab_size", 37)
      .Strings("tokenizer.ggml.tokens", std::vector<std::string>(36, "x"))
      .Uint32("tokenizer.ggml.bos_token_id", 3)
      .Uint32("tokenizer.ggml.eos_token_id", 4)
      .Uint32("tokenizer.ggml.eot_token_id", 5);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
  const ModelSpec& spec = source->spec();
  EXPECT_EQ(spec.vocab_size, 37);
  EXPECT_EQ(spec.hidden_size, 48);
  EXPECT_EQ(spec.intermediate_size, 50);
  EXPECT_EQ(spec.num_layers, 2);
  EXPECT_EQ(spec.num_heads, 6);
  EXPECT_EQ(spec.num_kv_heads, 3);
  EXPECT_EQ(spec.head_dim, 8);
  EXPECT_EQ(spec.max_positions, 64);
  EXPECT_FLOAT_EQ(spec.rms_norm_epsilon, 1e-5f);
  EXPECT_EQ(spec.rope.theta, 50000.0);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kNone);
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_EQ(spec.bos_token, 3);
  EXPECT_THAT(spec.eos_tokens, ElementsAre(4, 5));
}

TEST(GgufSourceTest, WithoutOutputTheEmbeddingIsTied) {
  ModelSpec spec = SmallSpec();
  spec.tied_embeddings = true;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, Model(spec, kF32).Open());
  EXPECT_TRUE(source->spec().tied_embeddings);
  EXPECT_THAT(source->Find(kHead), StatusIs(Code::kNotFound));
  EXPECT_EQ(source->spec().bos_token, -1);
  EXPECT_THAT(source->spec().eos_tokens, IsEmpty());
}

TEST(GgufSourceTest, LinearScalingStretchesTheContext) {
  Model model(SmallSpec(), kF32);
  model.builder.String("llama.rope.scaling.type", "linear")
      .Float32("llama.rope.scaling.factor", 4.0f);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
  EXPECT_EQ(source->spec().rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(source->spec().rope.factor, 4.0);
  EXPECT_EQ(source->spec().max_positions, 256);
}

TEST(GgufSourceTest, Llama3ScalingIsReadFromItsDivisors) {
  RopeSpec rope;
  rope.theta = 500000.0;
  rope.scaling = RopeScaling::kLlama3;
  rope.factor = 32.0;
  rope.original_max_positions = 8192;
  std::string bytes;
  for (double divisor : Llama3Divisors(rope, 8)) {
    bytes += Encode(DType::kFloat32, static_cast<float>(divisor));
  }
  Model model(SmallSpec(), kF32);
  model.builder.Float32("llama.rope.freq_base", 500000.0f)
      .Tensor("rope_freqs.weight", {4}, kF32, bytes);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
  const RopeSpec& read = source->spec().rope;
  EXPECT_EQ(read.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(read.factor, 32.0);
  EXPECT_EQ(read.original_max_positions, 8192);
  EXPECT_EQ(read.low_frequency_factor, 1.0);
  EXPECT_EQ(read.high_frequency_factor, 4.0);
}

TEST(GgufSourceTest, FingerprintTellsFilesApart) {
  const auto fingerprint = [](const Model& model) {
    const auto source = model.Open();
    CARAVAN_EXPECT_OK(source);
    return source.ok() ? (*source)->Fingerprint() : "";
  };
  const std::string original = fingerprint(Model(SmallSpec(), kF16));
  EXPECT_EQ(original.size(), 64u);
  EXPECT_EQ(fingerprint(Model(SmallSpec(), kF16)), original);
  EXPECT_NE(fingerprint(Model(SmallSpec(), kBF16)), original);
  Model renamed(SmallSpec(), kF16);
  renamed.builder.String("general.name", "x");
  EXPECT_NE(fingerprint(renamed), original);
}

struct Refusal {
  std::string name;
  std::function<void(Model&)> spoil;
  Code code;
  std::string fragment;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

// A model's keys alone, without the one that is spoilt.
GgufBuilder KeysWithout(absl::string_view absent) {
  GgufBuilder builder;
  if (absent != "general.architecture") {
    builder.String("general.architecture", "llama");
  }
  for (const char* key :
       {"llama.context_length", "llama.embedding_length", "llama.block_count",
        "llama.feed_forward_length", "llama.attention.head_count"}) {
    if (absent != key) builder.Uint32(key, 64);
  }
  if (absent != "llama.attention.layer_norm_rms_epsilon") {
    builder.Float32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  }
  return builder;
}

Refusal Missing(const std::string& name, const std::string& key) {
  return {name, [key](Model& m) { m.builder = KeysWithout(key); },
          Code::kInvalidArgument, "no metadata key \"" + key};
}
Refusal Uint32(const std::string& name, const std::string& key, uint32_t value,
               Code code) {
  return {name, [=](Model& m) { m.builder.Uint32(key, value); }, code, key};
}

std::vector<Refusal> Refusals() {
  const Code invalid = Code::kInvalidArgument;
  const Code unsupported = Code::kUnimplemented;
  const std::string four(16, 'x');
  return {
      Missing("no_architecture", "general.architecture"),
      Missing("no_context", "llama.context_length"),
      Missing("no_width", "llama.embedding_length"),
      Missing("no_layers", "llama.block_count"),
      Missing("no_mlp", "llama.feed_forward_length"),
      Missing("no_heads", "llama.attention.head_count"),
      Missing("no_epsilon", "llama.attention.layer_norm_rms_epsilon"),
      {"architecture",
       [](Model& m) {
         m.builder = GgufBuilder().String("general.architecture", "gemma");
       },
       unsupported, "general.architecture \"gemma\""},
      {"no_embedding", [](Model& m) { m.builder = KeysWithout(""); }, invalid,
       "\"token_embd.weight\" is missing"},
      {"width_negative",
       [](Model& m) {
         m.builder = KeysWithout("llama.embedding_length");
         m.builder.Key("llama.embedding_length", 5, Bytes<int32_t>(-63));
       },
       invalid, "multiple of llama.attention.head_count"},
      {"layers_text",
       [](Model& m) {
         m.builder = KeysWithout("llama.block_count");
         m.builder.String("llama.block_count", "2");
       },
       invalid, "\"llama.block_count\" must be an integer"},
      {"layers_huge",
       [](Model& m) {
         m.builder = KeysWithout("llama.block_count");
         m.builder.Key("llama.block_count", 10, Bytes(int64_t{1} << 40));
       },
       invalid, "llama.block_count is out of range"},
      Uint32("experts", "llama.expert_count", 8, unsupported),
      Uint32("window", "llama.attention.sliding_window", 4096, unsupported),
      Uint32("logit_scale", "llama.logit_scale", 1, unsupported),
      Uint32("value_length", "llama.attention.value_length", 4, unsupported),
      {"key_length",
       [](Model& m) { m.builder.Uint32("llama.attention.key_length", 7); },
       invalid, "head_dim must be even"},
      Uint32("rope_dimensions", "llama.rope.dimension_count", 4, unsupported),
      Uint32("vocabulary", "llama.vocab_size", 38, invalid),
      Uint32("bos", "tokenizer.ggml.bos_token_id", 37, invalid),
      Uint32("eos", "tokenizer.ggml.eos_token_id", 0xffffffffu, invalid),
      {"not_causal",
       [](Model& m) {
         m.builder.Key("llama.attention.causal", 7, Bytes<uint8_t>(0));
       },
       unsupported, "llama.attention.causal"},
      {"tokens",
       [](Model& m) {
         m.builder.Strings("tokenizer.ggml.tokens",
                           std::vector<std::string>(38, "x"));
       },
       invalid, "38 tokens"},
      {"theta_nan",
       [](Model& m) {
         m.builder.Key("llama.rope.freq_base", 6, Bytes<uint32_t>(0x7fc00000));
       },
       invalid, "rope.theta"},
      {"yarn",
       [](Model& m) { m.builder.String("llama.rope.scaling.type", "yarn"); },
       unsupported, "\"yarn\""},
      {"linear_no_factor",
       [](Model& m) { m.builder.String("llama.rope.scaling.type", "linear"); },
       invalid, "llama.rope.scaling.factor"},
      {"linear_factor",
       [](Model& m) {
         m.builder.String("llama.rope.scaling.type", "linear")
             .Float32("llama.rope.scaling.factor", 1e30f);
       },
       invalid, "out of range"},
      {"divisors_unknown",
       [](Model& m) {
         m.builder.Tensor("rope_freqs.weight", {4}, kF32,
                          Bytes(1.f) + Bytes(1.f) + Bytes(5.f) + Bytes(2.f));
       },
       unsupported, "\"rope_freqs.weight\": divisor 2"},
      {"divisors_negative",
       [](Model& m) {
         m.builder.Tensor("rope_freqs.weight", {4}, kF32,
                          Bytes(1.f) + Bytes(1.f) + Bytes(1.f) + Bytes(-2.f));
       },
       unsupported, "rope_freqs.weight"},
      {"divisors_many",
       [](Model& m) {
         m.builder.Tensor("rope_freqs.weight", {8}, kF32, std::string(32, 'x'));
       },
       invalid, "must hold 4 F32 values"},
      {"tensor_too_many",
       [four](Model& m) {
         m.builder.Tensor("blk.0.attn_q.bias", {4}, kF32, four);
       },
       invalid, "\"blk.0.attn_q.bias\" is not part"},
      {"layers_more",
       [](Model& m) {
         ModelSpec spec = m.spec;
         spec.num_layers = 1;
         m.builder = Model(spec, kF32).builder;
         m.builder.Tensor("blk.1.attn_norm.weight", {48}, kF32,
                          std::string(192, 'x'));
       },
       invalid, "\"blk.1.attn_norm.weight\" is not part"},
      {"shape",
       [](Model& m) {
         ModelSpec spec = m.spec;
         spec.num_kv_heads = 2;
         GgufBuilder wrong = Model(spec, kF32).builder;
         m.builder = wrong;
         m.builder.Uint32("llama.attention.key_length", 10);
       },
       invalid, "\"blk.0.attn_q.weight\" has the shape (48, 48), must be (60"},
  };
}

class GgufSourceRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(GgufSourceRefusalTest, NamesFileAndReason) {
  Model model(SmallSpec(), kF32);
  CARAVAN_ASSERT_OK(model.Open());
  GetParam().spoil(model);
  EXPECT_THAT(model.Open(),
              StatusIs(GetParam().code, AllOf(HasSubstr("test.gguf"),
                                              HasSubstr(GetParam().fragment))));
}

INSTANTIATE_TEST_SUITE_P(All, GgufSourceRefusalTest,
                         ::testing::ValuesIn(Refusals()),
                         [](const ::testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

// SmolLM2-135M-Instruct, as deploy/quickstart.sh gets it.
std::string RealModel() {
  if (const char* path = std::getenv("CARAVAN_TEST_GGUF")) return path;
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) +
         "/.cache/caravan/SmolLM2-135M-Instruct.Q4_1.gguf";
}

// Golden values: tests/partition/model/gguf_goldens.py.
TEST(GgufSourceTest, ReadsTheRealModel) {
  const std::string path = RealModel();
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no " << path << "; CARAVAN_TEST_GGUF names another place";
  }
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
