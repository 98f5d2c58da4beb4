#include "partition/model/gguf_spec.h"

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "partition/model/gguf_rope.h"
#include "tests/partition/model/gguf_model.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Code = absl::StatusCode;

TEST(GgufSpecTest, KnowsGgufsNamesOfTensors) {
  EXPECT_EQ(GgufTensorName(kEmbedding), "token_embd.weight");
  EXPECT_EQ(GgufTensorName(kFinalNorm), "output_norm.weight");
  EXPECT_EQ(GgufTensorName(kHead), "output.weight");
  EXPECT_EQ(GgufTensorName(LayerTensor(12, kInputNorm)),
            "blk.12.attn_norm.weight");
  EXPECT_EQ(GgufTensorName(LayerTensor(12, kMlpNorm)),
            "blk.12.ffn_norm.weight");
  EXPECT_EQ(GgufTensorName(LayerTensor(0, kAttentionOutput)),
            "blk.0.attn_output.weight");
}

TEST(GgufSpecTest, ReadsTheSpec) {
  GgufModel model(SmallSpec(), kF16);
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

TEST(GgufSpecTest, WithoutOutputTheEmbeddingIsTied) {
  ModelSpec spec = SmallSpec();
  spec.tied_embeddings = true;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, GgufModel(spec, kF32).Open());
  EXPECT_TRUE(source->spec().tied_embeddings);
  EXPECT_THAT(source->Find(kHead), StatusIs(Code::kNotFound));
  EXPECT_EQ(source->spec().bos_token, -1);
  EXPECT_THAT(source->spec().eos_tokens, IsEmpty());
}

TEST(GgufSpecTest, LinearScalingStretchesTheContext) {
  GgufModel model(SmallSpec(), kF32);
  model.builder.String("llama.rope.scaling.type", "linear")
      .Float32("llama.rope.scaling.factor", 4.0f);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, model.Open());
  EXPECT_EQ(source->spec().rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(source->spec().rope.factor, 4.0);
  EXPECT_EQ(source->spec().max_positions, 256);
}

TEST(GgufSpecTest, Llama3ScalingIsReadFromItsDivisors) {
  RopeSpec rope;
  rope.theta = 500000.0;
  rope.scaling = RopeScaling::kLlama3;
  rope.factor = 32.0;
  rope.original_max_positions = 8192;
  std::string bytes;
  for (double divisor : Llama3Divisors(rope, 8)) {
    bytes += Encode(DType::kFloat32, static_cast<float>(divisor));
  }
  GgufModel model(SmallSpec(), kF32);
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

struct Refusal {
  std::string name;
  std::function<void(GgufModel&)> spoil;
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
  return {name, [key](GgufModel& m) { m.builder = KeysWithout(key); },
          Code::kInvalidArgument, "no metadata key \"" + key};
}
Refusal Uint32(const std::string& name, const std::string& key, uint32_t value,
               Code code) {
  return {name, [=](GgufModel& m) { m.builder.Uint32(key, value); }, code, key};
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
       [](GgufModel& m) {
         m.builder = GgufBuilder().String("general.architecture", "gemma");
       },
       unsupported, "general.architecture \"gemma\""},
      {"no_embedding", [](GgufModel& m) { m.builder = KeysWithout(""); },
       invalid, "\"token_embd.weight\" is missing"},
      {"width_negative",
       [](GgufModel& m) {
         m.builder = KeysWithout("llama.embedding_length");
         m.builder.Key("llama.embedding_length", 5, Bytes<int32_t>(-63));
       },
       invalid, "multiple of llama.attention.head_count"},
      {"layers_text",
       [](GgufModel& m) {
         m.builder = KeysWithout("llama.block_count");
         m.builder.String("llama.block_count", "2");
       },
       invalid, "\"llama.block_count\" must be an integer"},
      {"layers_huge",
       [](GgufModel& m) {
         m.builder = KeysWithout("llama.block_count");
         m.builder.Key("llama.block_count", 10, Bytes(int64_t{1} << 40));
       },
       invalid, "llama.block_count is out of range"},
      Uint32("experts", "llama.expert_count", 8, unsupported),
      Uint32("window", "llama.attention.sliding_window", 4096, unsupported),
      Uint32("logit_scale", "llama.logit_scale", 1, unsupported),
      Uint32("value_length", "llama.attention.value_length", 4, unsupported),
      {"key_length",
       [](GgufModel& m) { m.builder.Uint32("llama.attention.key_length", 7); },
       invalid, "head_dim must be even"},
      Uint32("rope_dimensions", "llama.rope.dimension_count", 4, unsupported),
      Uint32("vocabulary", "llama.vocab_size", 38, invalid),
      Uint32("bos", "tokenizer.ggml.bos_token_id", 37, invalid),
      Uint32("eos", "tokenizer.ggml.eos_token_id", 0xffffffffu, invalid),
      {"not_causal",
       [](GgufModel& m) {
         m.builder.Key("llama.attention.causal", 7, Bytes<uint8_t>(0));
       },
       unsupported, "llama.attention.causal"},
      {"tokens",
       [](GgufModel& m) {
         m.builder.Strings("tokenizer.ggml.tokens",
                           std::vector<std::string>(38, "x"));
       },
       invalid, "38 tokens"},
      {"theta_nan",
       [](GgufModel& m) {
         m.builder.Key("llama.rope.freq_base", 6, Bytes<uint32_t>(0x7fc00000));
       },
       invalid, "rope.theta"},
      {"attention_factor",
       [](GgufModel& m) {
         m.builder.Float32("llama.rope.scaling.attn_factor", 0.9f);
       },
       unsupported, "attn_factor 0.9"},
      {"yarn",
       [](GgufModel& m) {
         m.builder.String("llama.rope.scaling.type", "yarn");
       },
       unsupported, "\"yarn\""},
      {"linear_no_factor",
       [](GgufModel& m) {
         m.builder.String("llama.rope.scaling.type", "linear");
       },
       invalid, "llama.rope.scaling.factor"},
      {"linear_factor",
       [](GgufModel& m) {
         m.builder.String("llama.rope.scaling.type", "linear")
             .Float32("llama.rope.scaling.factor", 1e30f);
       },
       invalid, "out of range"},
      {"divisors_unknown",
       [](GgufModel& m) {
         m.builder.Tensor("rope_freqs.weight", {4}, kF32,
                          Bytes(1.f) + Bytes(1.f) + Bytes(5.f) + Bytes(2.f));
       },
       unsupported, "\"rope_freqs.weight\": divisor 2"},
      {"divisors_negative",
       [](GgufModel& m) {
         m.builder.Tensor("rope_freqs.weight", {4}, kF32,
                          Bytes(1.f) + Bytes(1.f) + Bytes(1.f) + Bytes(-2.f));
       },
       unsupported, "rope_freqs.weight"},
      {"divisors_many",
       [](GgufModel& m) {
         m.builder.Tensor("rope_freqs.weight", {8}, kF32, std::string(32, 'x'));
       },
       invalid, "must hold 4 F32 values"},
      {"tensor_too_many",
       [four](GgufModel& m) {
         m.builder.Tensor("blk.0.attn_q.bias", {4}, kF32, four);
       },
       invalid, "\"blk.0.attn_q.bias\" is not part"},
      {"layers_more",
       [](GgufModel& m) {
         ModelSpec spec = m.spec;
         spec.num_layers = 1;
         m.builder = GgufModel(spec, kF32).builder;
         m.builder.Tensor("blk.1.attn_norm.weight", {48}, kF32,
                          std::string(192, 'x'));
       },
       invalid, "\"blk.1.attn_norm.weight\" is not part"},
      {"shape",
       [](GgufModel& m) {
         ModelSpec spec = m.spec;
         spec.num_kv_heads = 2;
         GgufBuilder wrong = GgufModel(spec, kF32).builder;
         m.builder = wrong;
         m.builder.Uint32("llama.attention.key_length", 10);
       },
       invalid, "\"blk.0.attn_q.weight\" has the shape (48, 48), must be (60"},
  };
}

class GgufSpecRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(GgufSpecRefusalTest, NamesFileAndReason) {
  GgufModel model(SmallSpec(), kF32);
  CARAVAN_ASSERT_OK(model.Open());
  GetParam().spoil(model);
  EXPECT_THAT(model.Open(),
              StatusIs(GetParam().code, AllOf(HasSubstr("test.gguf"),
                                              HasSubstr(GetParam().fragment))));
}

INSTANTIATE_TEST_SUITE_P(All, GgufSpecRefusalTest,
                         ::testing::ValuesIn(Refusals()),
                         [](const ::testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace caravan::partition
