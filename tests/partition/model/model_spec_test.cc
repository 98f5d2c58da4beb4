#include "partition/model/model_spec.h"

#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "partition/model/named_models.h"
#include "partition/model/tensor_names.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

ModelSpec Valid() { return *NamedModelSpec("llama-2-7b"); }

TEST(ModelSpecTest, CountsWhatTheTensorsHold) {
  ModelSpec spec = Valid();
  spec.num_kv_heads = 8;
  spec.head_dim = 96;  // not hidden_size / num_heads
  for (bool tied : {false, true}) {
    spec.tied_embeddings = tied;
    int64_t sum = 0;
    for (const NamedShape& tensor : ExpectedTensors(spec)) {
      sum += tensor.rows * tensor.cols;
    }
    EXPECT_EQ(CountParameters(spec), sum);
  }
}

struct Refusal {
  std::string name;
  std::string field;
  std::function<void(ModelSpec&)> spoil;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

class ModelSpecRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(ModelSpecRefusalTest, NamesTheField) {
  ModelSpec spec = Valid();
  GetParam().spoil(spec);
  EXPECT_THAT(Validate(spec), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr(GetParam().field)));
}

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

INSTANTIATE_TEST_SUITE_P(
    All, ModelSpecRefusalTest,
    ::testing::ValuesIn(std::vector<Refusal>{
        {"stored_too_few", "all 32, has 3",
         [](ModelSpec& s) { s.stored.layers.resize(3); }},
        {"vocab_zero", "vocab_size", [](ModelSpec& s) { s.vocab_size = 0; }},
        {"vocab_huge", "vocab_size",
         [](ModelSpec& s) { s.vocab_size = int64_t{1} << 40; }},
        {"hidden_negative", "hidden_size",
         [](ModelSpec& s) { s.hidden_size = -1; }},
        {"mlp_zero", "intermediate_size",
         [](ModelSpec& s) { s.intermediate_size = 0; }},
        {"layers_huge", "num_layers",
         [](ModelSpec& s) { s.num_layers = 1 << 20; }},
        {"heads_zero", "num_heads", [](ModelSpec& s) { s.num_heads = 0; }},
        {"kv_heads_zero", "num_kv_heads",
         [](ModelSpec& s) { s.num_kv_heads = 0; }},
        {"kv_heads_odd", "num_kv_heads",
         [](ModelSpec& s) { s.num_kv_heads = 5; }},
        {"head_dim_odd", "head_dim", [](ModelSpec& s) { s.head_dim = 127; }},
        {"positions_zero", "max_positions",
         [](ModelSpec& s) { s.max_positions = 0; }},
        {"epsilon_zero", "rms_norm_epsilon",
         [](ModelSpec& s) { s.rms_norm_epsilon = 0; }},
        {"epsilon_nan", "rms_norm_epsilon",
         [](ModelSpec& s) { s.rms_norm_epsilon = kNaN; }},
        {"theta_nan", "rope.theta", [](ModelSpec& s) { s.rope.theta = kNaN; }},
        {"theta_zero", "rope.theta", [](ModelSpec& s) { s.rope.theta = 0; }},
        {"linear_factor", "rope.factor",
         [](ModelSpec& s) {
           s.rope.scaling = RopeScaling::kLinear;
           s.rope.factor = 0.5;
         }},
        {"dynamic_original", "rope.original_max_positions",
         [](ModelSpec& s) { s.rope.scaling = RopeScaling::kDynamic; }},
        {"llama3_factors", "rope.high_frequency_factor",
         [](ModelSpec& s) {
           s.rope = {.scaling = RopeScaling::kLlama3,
                     .factor = 8,
                     .low_frequency_factor = 4,
                     .high_frequency_factor = 4,
                     .original_max_positions = 8192};
         }},
        {"dynamic_head_dim", "head_dim",
         [](ModelSpec& s) {
           s.head_dim = 2;
           s.rope = {.scaling = RopeScaling::kDynamic,
                     .factor = 2,
                     .original_max_positions = 2048};
         }},
        {"bos", "bos_token", [](ModelSpec& s) { s.bos_token = 32000; }},
        {"eos", "eos_token", [](ModelSpec& s) { s.eos_tokens = {2, -1}; }},
    }),
    [](const ::testing::TestParamInfo<Refusal>& info) {
      return info.param.name;
    });

}  // namespace
}  // namespace caravan::partition
