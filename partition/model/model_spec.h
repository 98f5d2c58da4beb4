// What a Llama-family model is, as plain data.
#ifndef CARAVAN_PARTITION_MODEL_MODEL_SPEC_H_
#define CARAVAN_PARTITION_MODEL_MODEL_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"
#include "base/weight_format.h"

namespace caravan::partition {

enum class RopeScaling { kNone, kLinear, kDynamic, kLlama3 };

// Rotary position embedding (Su et al., RoFormer, arXiv 2104.09864) and how its
// frequencies are stretched beyond the trained context.
struct RopeSpec {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;                 // kLinear, kDynamic, kLlama3
  double low_frequency_factor = 1.0;   // kLlama3
  double high_frequency_factor = 4.0;  // kLlama3
  // Context of the training: kLlama3 and kDynamic.
  int64_t original_max_positions = 0;
};

// How a layer's matrices are stored.
struct LayerFormats {
  WeightFormat query = WeightFormat::kFloat32;
  WeightFormat key = WeightFormat::kFloat32;
  WeightFormat value = WeightFormat::kFloat32;
  WeightFormat attention_output = WeightFormat::kFloat32;
  WeightFormat gate = WeightFormat::kFloat32;
  WeightFormat up = WeightFormat::kFloat32;
  WeightFormat down = WeightFormat::kFloat32;
};

// How a quantized checkpoint stores its matrices.
struct StoredFormats {
  WeightFormat embedding = WeightFormat::kFloat32;
  WeightFormat head = WeightFormat::kFloat32;  // tied: the embedding's
  std::vector<LayerFormats> layers;
};

struct ModelSpec {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int num_layers = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double rms_norm_epsilon = 1e-5;
  RopeSpec rope;
  bool tied_embeddings = false;
  DType dtype = DType::kBFloat16;  // of the checkpoint's matrices, decoded
  // No layers: nothing is quantized.
  StoredFormats stored;
  int bos_token = -1;  // -1: none
  std::vector<int> eos_tokens;

  int heads_per_kv_head() const { return num_heads / num_kv_heads; }
  int64_t attention_size() const { return num_heads * head_dim; }
  bool is_quantized() const { return !stored.layers.empty(); }
};

// kInvalidArgument that names the field when sizes are absent, out of range or
// do not fit each other. Every ModelSource returns only valid specs.
absl::Status Validate(const ModelSpec& spec);

// Parameters of the whole model.
int64_t CountParameters(const ModelSpec& spec);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_MODEL_SPEC_H_
