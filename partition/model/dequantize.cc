#include "partition/model/dequantize.h"

#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"

namespace caravan::partition {
namespace {

constexpr int kHalf = 16;  // of a block's 32 values

float ReadFloat16(const std::byte* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return Float16ToFloat(bits);
}

// Byte i holds value i in its low and value i + 16 in its high four bits.
// Values stand for (q - 8) * scale.
void DequantizeQ4_0(const std::byte* block, float* out) {
  const float scale = ReadFloat16(block);
  const std::byte* quants = block + 2;
  for (int i = 0; i < kHalf; ++i) {
    const int byte = std::to_integer<int>(quants[i]);
    out[i] = static_cast<float>((byte & 15) - 8) * scale;
    out[i + kHalf] = static_cast<float>((byte >> 4) - 8) * scale;
  }
}

// The same places; values stand for q * scale + minimum.
void DequantizeQ4_1(const std::byte* block, float* out) {
  const float scale = ReadFloat16(block);
  const float minimum = ReadFloat16(block + 2);
  const std::byte* quants = block + 4;
  for (int i = 0; i < kHalf; ++i) {
    const int byte = std::to_integer<int>(quants[i]);
    out[i] = static_cast<float>(byte & 15) * scale + minimum;
    out[i + kHalf] = static_cast<float>(byte >> 4) * scale + minimum;
  }
}

void DequantizeQ8_0(const std::byte* block, float* out) {
  const float scale = ReadFloat16(block);
  const std::byte* quants = block + 2;
  for (int i = 0; i < 2 * kHalf; ++i) {
    const auto quant = std::to_integer<int8_t>(quants[i]);
    out[i] = static_cast<float>(quant) * scale;
  }
}

using BlockFunction = void (*)(const std::byte*, float*);

BlockFunction FunctionFor(GgufTensorType type) {
  switch (type) {
    case GgufTensorType::kQ4_0:
      return DequantizeQ4_0;
    case GgufTensorType::kQ4_1:
      return DequantizeQ4_1;
    case GgufTensorType::kQ8_0:
      return DequantizeQ8_0;
    case GgufTensorType::kF32:
    case GgufTensorType::kF16:
    case GgufTensorType::kBF16:
      break;
  }
  return nullptr;
}

}  // namespace

void Dequantize(GgufTensorType type, absl::Span<const std::byte> blocks,
                absl::Span<float> out) {
  const BlockFunction function = FunctionFor(type);
  const size_t bytes = static_cast<size_t>(Facts(type).block_bytes);
  const size_t elements = static_cast<size_t>(Facts(type).block_elements);
  CARAVAN_CHECK(function != nullptr);
  CARAVAN_CHECK(blocks.size() % bytes == 0);
  CARAVAN_CHECK(blocks.size() / bytes * elements == out.size());
  const std::byte* block = blocks.data();
  for (size_t at = 0; at < out.size(); at += elements, block += bytes) {
    function(block, out.data() + at);
  }
}

}  // namespace caravan::partition
