#include "partition/model/hf_config.h"

#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "partition/model/named_models.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Code = absl::StatusCode;
using Json = nlohmann::json;

Json Base() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", 1000},
          {"hidden_size", 64},
          {"intermediate_size", 176},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 4},
          {"hidden_act", "silu"},
          {"max_position_embeddings", 2048},
          {"rms_norm_eps", 1e-5},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"torch_dtype", "bfloat16"},
          {"tie_word_embeddings", false}};
}

// Base() with fields replaced.
std::string With(const Json& changes) {
  Json config = Base();
  config.update(changes);
  return config.dump();
}
std::string Without(const std::string& field) {
  Json config = Base();
  config.erase(field);
  return config.dump();
}

TEST(HfConfigTest, ReadsThePublishedLlama2) {
  // https://huggingface.co/meta-llama/Llama-2-70b-hf, config.json
  constexpr char kLlama2_70b[] = R"({
    "_name_or_path": "meta-llama/Llama-2-70b-hf",
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 8192,
    "initializer_range": 0.02, "intermediate_size": 28672,
    "max_position_embeddings": 4096, "model_type": "llama",
    "num_attention_heads": 64, "num_hidden_layers": 80,
    "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": null, "tie_word_embeddings": false,
    "torch_dtype": "float16", "transformers_version": "4.32.0.dev0",
    "use_cache": true, "vocab_size": 32000})";
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec spec,
                               ParseHfConfig(kLlama2_70b));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec named,
                               NamedModelSpec("llama-2-70b"));
  EXPECT_EQ(CountParameters(spec), CountParameters(named));
  EXPECT_EQ(spec.num_kv_heads, named.num_kv_heads);
  EXPECT_EQ(spec.head_dim, named.head_dim);
  EXPECT_EQ(spec.max_positions, named.max_positions);
  EXPECT_EQ(spec.rms_norm_epsilon, named.rms_norm_epsilon);
  EXPECT_EQ(spec.rope.theta, named.rope.theta);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(spec.dtype, DType::kFloat16);
  EXPECT_EQ(spec.bos_token, 1);
  EXPECT_THAT(spec.eos_tokens, ElementsAre(2));
}

TEST(HfConfigTest, AbsentFieldsHaveTransformersDefaults) {
  const Json minimal = {{"model_type", "llama"},  {"vocab_size", 1000},
                        {"hidden_size", 64},      {"intermediate_size", 96},
                        {"num_hidden_layers", 2}, {"num_attention_heads", 4}};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec spec,
                               ParseHfConfig(minimal.dump()));
  EXPECT_EQ(spec.num_kv_heads, 4);
  EXPECT_EQ(spec.head_dim, 16);
  EXPECT_EQ(spec.max_positions, 2048);
  EXPECT_EQ(spec.rms_norm_epsilon, 1e-6);
  EXPECT_EQ(spec.rope.theta, 10000.0);
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_EQ(spec.dtype, DType::kFloat32);
  EXPECT_EQ(spec.bos_token, 1);
  EXPECT_THAT(spec.eos_tokens, ElementsAre(2));
}

TEST(HfConfigTest, ReadsWhatDiffersFromLlama2) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const ModelSpec spec, ParseHfConfig(With({{"head_dim", 12},
                                                {"num_attention_heads", 6},
                                                {"num_key_value_heads", 3},
                                                {"tie_word_embeddings", true},
                                                {"eos_token_id", {7, 9, 7}},
                                                {"bos_token_id", nullptr},
                                                {"dtype", "float32"}})));
  EXPECT_EQ(spec.head_dim, 12);
  EXPECT_EQ(spec.attention_size(), 72);
  EXPECT_EQ(spec.num_kv_heads, 3);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.bos_token, -1);
  EXPECT_THAT(spec.eos_tokens, ElementsAre(7, 9));
  EXPECT_EQ(spec.dtype, DType::kFloat32);  // wins over torch_dtype
}

TEST(HfConfigTest, NullEndTokenMeansNone) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const ModelSpec spec, ParseHfConfig(With({{"eos_token_id", nullptr}})));
  EXPECT_THAT(spec.eos_tokens, IsEmpty());
}

TEST(HfConfigTest, ReadsRopeInBothSpellings) {
  const Json llama3 = {{"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4},
                       {"original_max_position_embeddings", 512}};
  Json before = llama3;
  before["rope_type"] = "llama3";
  Json since = before;
  since["rope_theta"] = 500000.0;
  for (const std::string& text :
       {With({{"rope_theta", 500000}, {"rope_scaling", before}}),
        With({{"rope_parameters", since}}),
        With({{"rope_theta", 1.0},  // the inner one wins
              {"rope_parameters", since},
              {"rope_scaling", before}})}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec spec, ParseHfConfig(text));
    EXPECT_EQ(spec.rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(spec.rope.theta, 500000.0);
    EXPECT_EQ(spec.rope.factor, 8.0);
    EXPECT_EQ(spec.rope.low_frequency_factor, 1.0);
    EXPECT_EQ(spec.rope.high_frequency_factor, 4.0);
    EXPECT_EQ(spec.rope.original_max_positions, 512);
    EXPECT_EQ(spec.max_positions, 2048);
  }
}

TEST(HfConfigTest, LinearAndDynamicScalingStretchTheContext) {
  for (const char* key : {"type", "rope_type"}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const ModelSpec linear,
        ParseHfConfig(
            With({{"rope_scaling", {{key, "linear"}, {"factor", 2.5}}}})));
    EXPECT_EQ(linear.rope.scaling, RopeScaling::kLinear);
    EXPECT_EQ(linear.rope.factor, 2.5);
    EXPECT_EQ(linear.max_positions, 5120);
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const ModelSpec dynamic,
        ParseHfConfig(
            With({{"rope_scaling", {{key, "dynamic"}, {"factor", 4}}}})));
    EXPECT_EQ(dynamic.rope.scaling, RopeScaling::kDynamic);
    EXPECT_EQ(dynamic.rope.original_max_positions, 2048);
    EXPECT_EQ(dynamic.max_positions, 8192);
  }
}

TEST(HfConfigTest, AcceptsWhatChangesNothing) {
  for (const Json& changes : std::vector<Json>{
           {{"rope_scaling", {{"rope_type", "default"}}}},
           {{"rope_parameters",
             {{"rope_type", "default"},
              {"rope_theta", 1e4},
              {"partial_rotary_factor", 1.0}}}},
           {{"attention_bias", false}, {"mlp_bias", false}},
           {{"rope_interleaved", false}, {"pretraining_tp", 4}},
           {{"sliding_window", nullptr}, {"quantization_config", nullptr}},
           {{"sliding_window", 4096}, {"use_sliding_window", false}},
           {{"layer_types", {"full_attention", "full_attention"}}},
           {{"hidden_act", "swish"}, {"anything_else", {1, 2, 3}}},
           {{"torch_dtype", "torch.float16"}}}) {
    CARAVAN_EXPECT_OK(ParseHfConfig(With(changes))) << changes;
  }
}

TEST(HfConfigTest, GenerationConfigAddsEndTokens) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(ModelSpec spec,
                               ParseHfConfig(With(Json::object())));
  CARAVAN_EXPECT_OK(MergeGenerationConfig(R"({"top_p": 0.9})", spec));
  EXPECT_THAT(spec.eos_tokens, ElementsAre(2));
  CARAVAN_EXPECT_OK(MergeGenerationConfig(R"({"eos_token_id": [5, 2]})", spec));
  EXPECT_THAT(spec.eos_tokens, ElementsAre(2, 5));
  CARAVAN_EXPECT_OK(MergeGenerationConfig(R"({"eos_token_id": 8})", spec));
  EXPECT_THAT(spec.eos_tokens, ElementsAre(2, 5, 8));
  EXPECT_THAT(MergeGenerationConfig(R"({"eos_token_id": 1000})", spec),
              StatusIs(Code::kInvalidArgument, HasSubstr("eos_token_id 1000")));
}

struct Refusal {
  std::string name;
  std::string text;
  Code code;
  std::string fragment;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

std::vector<Refusal> Malformed() {
  const Code code = Code::kInvalidArgument;
  const std::string deep =
      "{\"a\":" + std::string(50000, '[') + std::string(50000, ']') + "}";
  return {
      {"empty", "", code, "not valid JSON"},
      {"cut", With(Json::object()).substr(0, 60), code, "not valid JSON"},
      {"array", "[1]", code, "must be a JSON object"},
      {"text_after", With(Json::object()) + "{}", code, "not valid JSON"},
      {"utf8", "{\"a\": \"\xff\"}", code, "not valid JSON"},
      {"key_twice", "{\"vocab_size\": 1, \"vocab_size\": 2}", code,
       "\"vocab_size\" occurs twice"},
      {"deep", deep, code, "deeper than 16"},
      {"number_range", "{\"rms_norm_eps\": 1e999}", code, "not valid JSON"},
      {"nan", "{\"rms_norm_eps\": NaN}", code, "not valid JSON"},
      {"no_type", R"({"vocab_size": 1000})", code, "architectures"},
      {"no_vocab", Without("vocab_size"), code, "vocab_size is missing"},
      {"no_hidden", Without("hidden_size"), code, "hidden_size is missing"},
      {"no_mlp", Without("intermediate_size"), code, "intermediate_size"},
      {"no_layers", Without("num_hidden_layers"), code, "num_hidden_layers"},
      {"no_heads", Without("num_attention_heads"), code, "num_attention_heads"},
      {"vocab_text", With({{"vocab_size", "1000"}}), code,
       "vocab_size must be an integer"},
      {"vocab_float", With({{"vocab_size", 1000.5}}), code, "vocab_size"},
      {"vocab_huge", With({{"vocab_size", ~uint64_t{0}}}), code, "vocab_size"},
      {"vocab_zero", With({{"vocab_size", 0}}), code, "vocab_size"},
      {"layers_negative", With({{"num_hidden_layers", -2}}), code,
       "num_layers"},
      {"layers_huge", With({{"num_hidden_layers", 4294967298}}), code,
       "num_hidden_layers"},
      {"heads_zero", With({{"num_attention_heads", 0}}), code,
       "num_attention_heads"},
      {"heads_odd", With({{"num_attention_heads", 7}}), code,
       "multiple of num_attention_heads"},
      {"kv_heads", With({{"num_key_value_heads", 3}}), code, "num_kv_heads"},
      {"head_dim_odd", With({{"head_dim", 7}}), code, "head_dim"},
      {"epsilon", With({{"rms_norm_eps", -1}}), code, "rms_norm_epsilon"},
      {"positions", With({{"max_position_embeddings", int64_t{1} << 40}}), code,
       "max_positions"},
      {"theta", With({{"rope_theta", 0}}), code, "rope.theta"},
      {"theta_text", With({{"rope_theta", "1e4"}}), code, "rope_theta"},
      {"rope_text", With({{"rope_scaling", "linear"}}), code,
       "rope_scaling must be an object"},
      {"rope_no_factor", With({{"rope_scaling", {{"type", "linear"}}}}), code,
       "rope_scaling.factor is missing"},
      {"rope_factor_small",
       With({{"rope_scaling", {{"type", "linear"}, {"factor", 0.1}}}}), code,
       "rope.factor"},
      {"rope_factor_huge",
       With({{"rope_scaling", {{"type", "dynamic"}, {"factor", 1e300}}}}), code,
       "out of range"},
      {"rope_types_differ",
       With({{"rope_scaling",
              {{"type", "linear"}, {"rope_type", "dynamic"}, {"factor", 2}}}}),
       code, "type and rope_type differ"},
      {"rope_spellings_differ",
       With({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}},
             {"rope_parameters", {{"rope_type", "linear"}, {"factor", 4}}}}),
       code, "contradict"},
      {"llama3_field",
       With({{"rope_scaling",
              {{"rope_type", "llama3"},
               {"factor", 8},
               {"low_freq_factor", 1}}}}),
       code, "rope_scaling.high_freq_factor is missing"},
      {"tied_number", With({{"tie_word_embeddings", 1}}), code,
       "tie_word_embeddings must be true or false"},
      {"bos_outside", With({{"bos_token_id", 1000}}), code,
       "bos_token_id 1000"},
      {"eos_outside", With({{"eos_token_id", {1, 1000}}}), code,
       "eos_token_id 1000"},
      {"eos_negative", With({{"eos_token_id", -1}}), code, "eos_token_id -1"},
      {"eos_text", With({{"eos_token_id", "</s>"}}), code, "eos_token_id"},
      {"eos_huge", With({{"eos_token_id", (int64_t{1} << 32) + 2}}), code,
       "eos_token_id 4294967298"},
  };
}

std::vector<Refusal> Unsupported() {
  const Code code = Code::kUnimplemented;
  return {
      {"mistral",
       With({{"architectures", {"MistralForCausalLM"}},
             {"model_type", "mistral"}}),
       code, "MistralForCausalLM"},
      {"model_type", With({{"model_type", "qwen2"}}), code, "qwen2"},
      {"gelu", With({{"hidden_act", "gelu"}}), code, "hidden_act \"gelu\""},
      {"attention_bias", With({{"attention_bias", true}}), code,
       "attention_bias"},
      {"mlp_bias", With({{"mlp_bias", true}}), code, "mlp_bias"},
      {"interleaved", With({{"rope_interleaved", true}}), code,
       "rope_interleaved"},
      {"quantized", With({{"quantization_config", {{"quant_method", "awq"}}}}),
       code, "quantization method \"awq\""},
      {"window", With({{"sliding_window", 4096}}), code, "sliding_window 4096"},
      {"layer_types", With({{"layer_types", {"sliding_attention"}}}), code,
       "sliding_attention"},
      {"yarn", With({{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}}}}),
       code, "\"yarn\""},
      {"longrope", With({{"rope_parameters", {{"rope_type", "longrope"}}}}),
       code, "\"longrope\""},
      {"rope_per_layer",
       With({{"rope_parameters",
              {{"full_attention", {{"rope_type", "default"}}}}}}),
       code, "per layer type"},
      {"partial", With({{"partial_rotary_factor", 0.5}}), code,
       "partial_rotary_factor 0.5"},
      {"partial_inner",
       With({{"rope_parameters",
              {{"rope_type", "default"}, {"partial_rotary_factor", 0.25}}}}),
       code, "partial_rotary_factor 0.25"},
      {"dtype", With({{"dtype", "float8_e4m3fn"}}), code, "float8_e4m3fn"},
  };
}

class HfConfigRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(HfConfigRefusalTest, NamesTheField) {
  EXPECT_THAT(ParseHfConfig(GetParam().text),
              StatusIs(GetParam().code, HasSubstr(GetParam().fragment)));
}

std::string NameOf(const ::testing::TestParamInfo<Refusal>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Malformed, HfConfigRefusalTest,
                         ::testing::ValuesIn(Malformed()), NameOf);
INSTANTIATE_TEST_SUITE_P(Unsupported, HfConfigRefusalTest,
                         ::testing::ValuesIn(Unsupported()), NameOf);

TEST(OverrideHfConfigTest, PutsFieldsInPlaceOfTheConfigs) {
  EXPECT_EQ(*OverrideHfConfig("as it is", ""), "as it is");
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::string config,
      OverrideHfConfig(Base().dump(), R"({"num_hidden_layers": 7,
                                          "head_dim": 24})"));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const ModelSpec spec, ParseHfConfig(config));
  EXPECT_EQ(spec.num_layers, 7);
  EXPECT_EQ(spec.head_dim, 24);
  EXPECT_EQ(spec.num_heads, 8);
}

TEST(OverrideHfConfigTest, RefusesWhatChangesNoShape) {
  for (const char* overrides :
       {"{", "2", "[]", R"({"num_hidden_layer": 7})", R"({"rope_theta": 1})",
        R"({"num_hidden_layers": 1, "num_hidden_layers": 2})"}) {
    EXPECT_THAT(OverrideHfConfig(Base().dump(), overrides),
                StatusIs(Code::kInvalidArgument, HasSubstr("--hf-overrides")))
        << overrides;
  }
}

}  // namespace
}  // namespace caravan::partition
