#include "partition/model/tensor_names.h"

#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

namespace caravan::partition {
namespace {

std::vector<std::tuple<std::string, int64_t, int64_t>> Shapes(bool tied) {
  ModelSpec spec;
  spec.vocab_size = 100;
  spec.hidden_size = 24;
  spec.intermediate_size = 40;
  spec.num_layers = 1;
  spec.num_heads = 6;
  spec.num_kv_heads = 2;
  spec.head_dim = 8;
  spec.tied_embeddings = tied;
  std::vector<std::tuple<std::string, int64_t, int64_t>> shapes;
  for (const NamedShape& tensor : ExpectedTensors(spec)) {
    shapes.emplace_back(tensor.name, tensor.rows, tensor.cols);
  }
  return shapes;
}

TEST(TensorNamesTest, ListsNamesAndShapesInModelOrder) {
  const std::string layer = "model.layers.0.";
  const std::vector<std::tuple<std::string, int64_t, int64_t>> expected = {
      {"model.embed_tokens.weight", 100, 24},
      {layer + "input_layernorm.weight", 1, 24},
      {layer + "self_attn.q_proj.weight", 48, 24},
      {layer + "self_attn.k_proj.weight", 16, 24},
      {layer + "self_attn.v_proj.weight", 16, 24},
      {layer + "self_attn.o_proj.weight", 24, 48},
      {layer + "post_attention_layernorm.weight", 1, 24},
      {layer + "mlp.gate_proj.weight", 40, 24},
      {layer + "mlp.up_proj.weight", 40, 24},
      {layer + "mlp.down_proj.weight", 24, 40},
      {"model.norm.weight", 1, 24},
      {"lm_head.weight", 100, 24},
  };
  EXPECT_EQ(Shapes(/*tied=*/false), expected);
}

TEST(TensorNamesTest, TiedEmbeddingsHaveNoHead) {
  const auto shapes = Shapes(/*tied=*/true);
  ASSERT_EQ(shapes.size(), 11u);
  EXPECT_EQ(std::get<0>(shapes.back()), "model.norm.weight");
}

}  // namespace
}  // namespace caravan::partition
