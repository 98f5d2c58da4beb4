// Small checkpoints for tests, in the files of either kind. An element's value
// is a function of tensor and place that every element type holds exactly.
#ifndef CARAVAN_TESTS_PARTITION_MODEL_CHECKPOINT_BUILDER_H_
#define CARAVAN_TESTS_PARTITION_MODEL_CHECKPOINT_BUILDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "nlohmann/json.hpp"
#include "partition/model/model_source.h"
#include "partition/model/model_spec.h"
#include "partition/model/tensor_names.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {

// 6 query heads, 3 key heads, widths that nothing divides.
inline ModelSpec SmallSpec() {
  ModelSpec spec;
  spec.vocab_size = 37;
  spec.hidden_size = 48;
  spec.intermediate_size = 50;
  spec.num_layers = 2;
  spec.num_heads = 6;
  spec.num_kv_heads = 3;
  spec.head_dim = 8;
  spec.max_positions = 64;
  spec.bos_token = 1;
  spec.eos_tokens = {2};
  spec.dtype = DType::kFloat32;
  return spec;
}

// In [-63.5, 64], a multiple of 1/2: exact in bfloat16's eight bits.
inline float Pattern(const std::string& tensor, int64_t row, int64_t col) {
  uint64_t x = row * 131 + col * 17 + 5;
  for (char c : tensor) x = x * 31 + static_cast<unsigned char>(c);
  x = (x ^ (x >> 29)) * 0x9e3779b97f4a7c15u;
  return 0.5f * (static_cast<float>(x >> 56) - 127.0f);
}

inline std::string Encode(DType dtype, float value) {
  const uint16_t narrow =
      dtype == DType::kFloat16 ? FloatToFloat16(value) : FloatToBFloat16(value);
  return dtype == DType::kFloat32
             ? std::string(reinterpret_cast<const char*>(&value), 4)
             : std::string(reinterpret_cast<const char*>(&narrow), 2);
}

inline std::string PatternBytes(const NamedShape& shape, DType dtype) {
  std::string bytes;
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t col = 0; col < shape.cols; ++col) {
      bytes += Encode(dtype, Pattern(shape.name, row, col));
    }
  }
  return bytes;
}

// What `source` delivers for a slice, as floats.
inline std::vector<float> ReadFloats(const ModelSource& source,
                                     const std::string& name,
                                     const TensorSlice& slice) {
  const auto info = source.Find(name);
  CARAVAN_EXPECT_OK(info);
  if (!info.ok()) return {};
  std::vector<std::byte> bytes(slice.count() * ByteSize(info->dtype()));
  CARAVAN_EXPECT_OK(source.Read(name, slice, absl::MakeSpan(bytes)));
  std::vector<float> values(slice.count());
  const auto* narrow = reinterpret_cast<const uint16_t*>(bytes.data());
  const auto* wide = reinterpret_cast<const float*>(bytes.data());
  for (size_t i = 0; i < values.size(); ++i) {
    switch (info->dtype()) {
      case DType::kFloat32:
        values[i] = wide[i];
        break;
      case DType::kFloat16:
        values[i] = Float16ToFloat(narrow[i]);
        break;
      case DType::kBFloat16:
        values[i] = BFloat16ToFloat(narrow[i]);
        break;
    }
  }
  return values;
}

inline std::vector<float> PatternFloats(const std::string& name,
                                        const TensorSlice& slice) {
  std::vector<float> values;
  for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
    for (int64_t col = slice.col_begin; col < slice.col_end; ++col) {
      values.push_back(Pattern(name, row, col));
    }
  }
  return values;
}

inline nlohmann::json ConfigJson(const ModelSpec& spec) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", spec.vocab_size},
          {"hidden_size", spec.hidden_size},
          {"intermediate_size", spec.intermediate_size},
          {"num_hidden_layers", spec.num_layers},
          {"num_attention_heads", spec.num_heads},
          {"num_key_value_heads", spec.num_kv_heads},
          {"head_dim", spec.head_dim},
          {"max_position_embeddings", spec.max_positions},
          {"rms_norm_eps", spec.rms_norm_epsilon},
          {"tie_word_embeddings", spec.tied_embeddings},
          {"torch_dtype", std::string(Name(spec.dtype))}};
}

// A safetensors file, well-formed unless its header is tampered with.
class SafetensorsBuilder final {
 public:
  SafetensorsBuilder& Tensor(const std::string& name, const std::string& dtype,
                             const std::vector<int64_t>& shape,
                             const std::string& bytes) {
    header[name] = {
        {"dtype", dtype},
        {"shape", shape},
        {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data += bytes;
    return *this;
  }
  SafetensorsBuilder& Patterned(const NamedShape& shape, DType dtype) {
    const char* name = dtype == DType::kFloat32   ? "F32"
                       : dtype == DType::kFloat16 ? "F16"
                                                  : "BF16";
    std::vector<int64_t> sizes = {shape.rows, shape.cols};
    if (shape.rows == 1) sizes = {shape.cols};
    return Tensor(shape.name, name, sizes, PatternBytes(shape, dtype));
  }
  std::string Build() const { return WithHeader(header.dump()); }
  std::string WithHeader(const std::string& text) const {
    const uint64_t size = text.size();
    return std::string(reinterpret_cast<const char*>(&size), 8) + text + data;
  }

  nlohmann::json header = nlohmann::json::object();
  std::string data;
};

}  // namespace caravan::partition

#endif  // CARAVAN_TESTS_PARTITION_MODEL_CHECKPOINT_BUILDER_H_
