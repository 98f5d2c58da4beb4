// A whole small Llama in a GGUF file, for tests.
#ifndef CARAVAN_TESTS_PARTITION_MODEL_GGUF_MODEL_H_
#define CARAVAN_TESTS_PARTITION_MODEL_GGUF_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "partition/model/gguf_source.h"
#include "partition/model/gguf_spec.h"
#include "tests/partition/model/checkpoint_builder.h"
#include "tests/partition/model/gguf_builder.h"

namespace caravan::partition {

// ggml's numbers of tensor types.
inline constexpr uint32_t kF32 = 0;
inline constexpr uint32_t kF16 = 1;
inline constexpr uint32_t kQ4_0 = 2;
inline constexpr uint32_t kQ4_1 = 3;
inline constexpr uint32_t kQ8_0 = 8;
inline constexpr uint32_t kBF16 = 30;

// Widths that 32 divides, for quantized rows.
inline ModelSpec WideSpec() {
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
inline std::string Block(uint32_t type, uint64_t place,
                         std::vector<float>& values) {
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
inline std::vector<int64_t> ConvertedOrder(int64_t rows, int64_t head_dim) {
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
class GgufModel final {
 public:
  GgufModel(const ModelSpec& spec, uint32_t type) : spec(spec) {
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
  // What the file holds of each row, in the model's order.
  std::map<std::string, std::vector<std::string>> row_bytes;

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
    std::vector<std::string>& rows = row_bytes[shape.name];
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

}  // namespace caravan::partition

#endif  // CARAVAN_TESTS_PARTITION_MODEL_GGUF_MODEL_H_
