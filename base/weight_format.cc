#include "base/weight_format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace caravan {
namespace {

constexpr int kHalf = kBlockElements / 2;
// Elements that are converted at once through float32.
constexpr int64_t kPieceElements = 512;

float ReadFloat16(const std::byte* from) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof(bits));
  return Float16ToFloat(bits);
}

float WriteFloat16(float value, std::byte* to) {
  const uint16_t bits = FloatToFloat16(value);
  std::memcpy(to, &bits, sizeof(bits));
  return Float16ToFloat(bits);
}

void DecodeQ8(const std::byte* block, float* out) {
  const float scale = ReadFloat16(block);
  for (int i = 0; i < kBlockElements; ++i) {
    const auto quant = std::to_integer<int8_t>(block[2 + i]);
    out[i] = static_cast<float>(quant) * scale;
  }
}

void DecodeQ4(const std::byte* block, float* out) {
  const float scale = ReadFloat16(block);
  const std::byte* quants = block + 2;
  for (int i = 0; i < kHalf; ++i) {
    const int byte = std::to_integer<int>(quants[i]);
    out[i] = static_cast<float>((byte & 15) - 8) * scale;
    out[i + kHalf] = static_cast<float>((byte >> 4) - 8) * scale;
  }
}

void DecodeQ4Minimum(const std::byte* block, float* out) {
  const float scale = ReadFloat16(block);
  const float minimum = ReadFloat16(block + 2);
  const std::byte* quants = block + 4;
  for (int i = 0; i < kHalf; ++i) {
    const int byte = std::to_integer<int>(quants[i]);
    out[i] = static_cast<float>(byte & 15) * scale + minimum;
    out[i + kHalf] = static_cast<float>(byte >> 4) * scale + minimum;
  }
}

template <float (*kWiden)(uint16_t)>
void DecodeHalf(const std::byte* from, float* out) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof(bits));
  *out = kWiden(bits);
}

void DecodeFloat32(const std::byte* from, float* out) {
  std::memcpy(out, from, sizeof(*out));
}

absl::Status NoScale(WeightFormat format, float value) {
  return absl::InvalidArgumentError(absl::StrCat(
      "a weight cannot be held as ", Name(format), ": value=", value));
}

// The values of a block in 4 bits, from `quants` in their order.
void PackNibbles(const std::array<int, kBlockElements>& quants, std::byte* to) {
  for (int i = 0; i < kHalf; ++i) {
    to[i] = static_cast<std::byte>(quants[i] | quants[i + kHalf] << 4);
  }
}

// As std::round, without a call.
int Round(float value) {
  const int whole = static_cast<int>(value);
  const float rest = value - static_cast<float>(whole);
  return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

absl::Status EncodeQ8(const float* values, std::byte* block) {
  float largest = 0;
  for (int i = 0; i < kBlockElements; ++i) {
    if (!std::isfinite(values[i])) return NoScale(WeightFormat::kQ8, values[i]);
    largest = std::max(largest, std::abs(values[i]));
  }
  const float scale = largest / 127.0f;
  const float held = WriteFloat16(scale, block);
  if (!std::isfinite(held)) return NoScale(WeightFormat::kQ8, largest);
  const float inverse = held == 0 ? 0 : 1.0f / scale;
  for (int i = 0; i < kBlockElements; ++i) {
    block[2 + i] = static_cast<std::byte>(Round(values[i] * inverse));
  }
  return absl::OkStatus();
}

absl::Status EncodeQ4(const float* values, std::byte* block) {
  float largest = 0;  // by magnitude, with its sign
  for (int i = 0; i < kBlockElements; ++i) {
    if (!std::isfinite(values[i])) return NoScale(WeightFormat::kQ4, values[i]);
    if (std::abs(values[i]) > std::abs(largest)) largest = values[i];
  }
  const float scale = largest / -8.0f;
  const float held = WriteFloat16(scale, block);
  if (!std::isfinite(held)) return NoScale(WeightFormat::kQ4, largest);
  const float inverse = held == 0 ? 0 : 1.0f / scale;
  std::array<int, kBlockElements> quants;
  for (int i = 0; i < kBlockElements; ++i) {
    quants[i] = std::min(15, static_cast<int>(values[i] * inverse + 8.5f));
  }
  PackNibbles(quants, block + 2);
  return absl::OkStatus();
}

absl::Status EncodeQ4Minimum(const float* values, std::byte* block) {
  constexpr WeightFormat kFormat = WeightFormat::kQ4Minimum;
  for (int i = 0; i < kBlockElements; ++i) {
    if (!std::isfinite(values[i])) return NoScale(kFormat, values[i]);
  }
  const auto [least, most] =
      std::minmax_element(values, values + kBlockElements);
  const float scale = (*most - *least) / 15.0f;
  const float held = WriteFloat16(scale, block);
  if (!std::isfinite(held)) return NoScale(kFormat, *most);
  if (!std::isfinite(WriteFloat16(*least, block + 2))) {
    return NoScale(kFormat, *least);
  }
  const float inverse = held == 0 ? 0 : 1.0f / scale;
  std::array<int, kBlockElements> quants;
  for (int i = 0; i < kBlockElements; ++i) {
    quants[i] =
        std::min(15, static_cast<int>((values[i] - *least) * inverse + 0.5f));
  }
  PackNibbles(quants, block + 4);
  return absl::OkStatus();
}

template <uint16_t (*kNarrow)(float)>
absl::Status EncodeHalf(const float* values, std::byte* to) {
  const uint16_t bits = kNarrow(*values);
  std::memcpy(to, &bits, sizeof(bits));
  return absl::OkStatus();
}

absl::Status EncodeFloat32(const float* values, std::byte* to) {
  std::memcpy(to, values, sizeof(*values));
  return absl::OkStatus();
}

struct Facts {
  absl::string_view name;
  DType decoded;
  int64_t elements;  // of a block
  int64_t bytes;
  void (*decode)(const std::byte* blocks, size_t count, float* out);
  absl::Status (*encode)(const float* values, size_t count, std::byte* blocks);
};

template <auto kDecodeBlock, auto kEncodeBlock, int64_t kElements,
          int64_t kBytes>
constexpr Facts FactsWith(absl::string_view name, DType decoded) {
  return {name,
          decoded,
          kElements,
          kBytes,
          [](const std::byte* blocks, size_t count, float* out) {
            for (size_t at = 0; at < count; at += kElements, blocks += kBytes) {
              kDecodeBlock(blocks, out + at);
            }
          },
          [](const float* values, size_t count, std::byte* blocks) {
            for (size_t at = 0; at < count; at += kElements, blocks += kBytes) {
              const absl::Status status = kEncodeBlock(values + at, blocks);
              if (!status.ok()) return status;
            }
            return absl::OkStatus();
          }};
}

// In the order of the enumeration.
constexpr std::array<Facts, kNumWeightFormats> kFacts = {
    FactsWith<DecodeFloat32, EncodeFloat32, 1, 4>("float32", DType::kFloat32),
    FactsWith<DecodeHalf<Float16ToFloat>, EncodeHalf<FloatToFloat16>, 1, 2>(
        "float16", DType::kFloat16),
    FactsWith<DecodeHalf<BFloat16ToFloat>, EncodeHalf<FloatToBFloat16>, 1, 2>(
        "bfloat16", DType::kBFloat16),
    FactsWith<DecodeQ8, EncodeQ8, kBlockElements, 34>("q8", DType::kFloat32),
    FactsWith<DecodeQ4, EncodeQ4, kBlockElements, 18>("q4", DType::kFloat32),
    FactsWith<DecodeQ4Minimum, EncodeQ4Minimum, kBlockElements, 20>(
        "q4 with minimum", DType::kFloat32),
};

const Facts& FactsOf(WeightFormat format) {
  return kFacts[static_cast<size_t>(format)];
}

// (q - 8) * d as q * d + m with m = -8 * d.
absl::Status AddMinimum(const std::byte* from, std::byte* to) {
  const float scale = ReadFloat16(from);
  std::memcpy(to, from, 2);
  if (!std::isfinite(WriteFloat16(-8.0f * scale, to + 2))) {
    return NoScale(WeightFormat::kQ4Minimum, -8.0f * scale);
  }
  std::memcpy(to + 4, from + 2, kHalf);
  return absl::OkStatus();
}

// (q - 8) * d as q * d with q of 8 bits.
absl::Status Widen(const std::byte* from, std::byte* to) {
  std::memcpy(to, from, 2);
  for (int i = 0; i < kHalf; ++i) {
    const int byte = std::to_integer<int>(from[2 + i]);
    to[2 + i] = static_cast<std::byte>((byte & 15) - 8);
    to[2 + kHalf + i] = static_cast<std::byte>((byte >> 4) - 8);
  }
  return absl::OkStatus();
}

absl::Status ConvertThroughFloats(WeightFormat from,
                                  absl::Span<const std::byte> blocks,
                                  WeightFormat to, absl::Span<std::byte> out) {
  std::array<float, kPieceElements> values;
  while (!blocks.empty()) {
    const int64_t elements = std::min<int64_t>(
        kPieceElements, static_cast<int64_t>(blocks.size()) / BlockBytes(from) *
                            BlockSize(from));
    const absl::Span<float> piece(values.data(), elements);
    Decode(from, blocks.first(ByteSize(from, elements)), piece);
    const absl::Status status =
        Encode(to, piece, out.first(ByteSize(to, elements)));
    if (!status.ok()) return status;
    blocks.remove_prefix(ByteSize(from, elements));
    out.remove_prefix(ByteSize(to, elements));
  }
  return absl::OkStatus();
}

}  // namespace

WeightFormat FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return WeightFormat::kFloat32;
    case DType::kFloat16:
      return WeightFormat::kFloat16;
    case DType::kBFloat16:
      return WeightFormat::kBFloat16;
  }
  return WeightFormat::kFloat32;
}

bool IsQuantized(WeightFormat format) {
  return FactsOf(format).elements == kBlockElements;
}

DType DecodedDType(WeightFormat format) { return FactsOf(format).decoded; }

absl::string_view Name(WeightFormat format) { return FactsOf(format).name; }

int64_t BlockSize(WeightFormat format) { return FactsOf(format).elements; }

int64_t BlockBytes(WeightFormat format) { return FactsOf(format).bytes; }

int64_t ByteSize(WeightFormat format, int64_t count) {
  const Facts& facts = FactsOf(format);
  CARAVAN_CHECK(count % facts.elements == 0);
  return count / facts.elements * facts.bytes;
}

void Decode(WeightFormat format, absl::Span<const std::byte> blocks,
            absl::Span<float> out) {
  const Facts& facts = FactsOf(format);
  CARAVAN_CHECK(ByteSize(format, static_cast<int64_t>(out.size())) ==
                static_cast<int64_t>(blocks.size()));
  facts.decode(blocks.data(), out.size(), out.data());
}

absl::Status Encode(WeightFormat format, absl::Span<const float> values,
                    absl::Span<std::byte> out) {
  const Facts& facts = FactsOf(format);
  CARAVAN_CHECK(ByteSize(format, static_cast<int64_t>(values.size())) ==
                static_cast<int64_t>(out.size()));
  return facts.encode(values.data(), values.size(), out.data());
}

bool ConvertsExactly(WeightFormat from, WeightFormat to) {
  if (from == to || to == WeightFormat::kFloat32) return true;
  return from == WeightFormat::kQ4 && IsQuantized(to);
}

absl::Status Convert(WeightFormat from, absl::Span<const std::byte> blocks,
                     WeightFormat to, absl::Span<std::byte> out) {
  const int64_t elements =
      static_cast<int64_t>(blocks.size()) / BlockBytes(from) * BlockSize(from);
  CARAVAN_CHECK(ByteSize(from, elements) ==
                static_cast<int64_t>(blocks.size()));
  CARAVAN_CHECK(ByteSize(to, elements) == static_cast<int64_t>(out.size()));
  if (from == to) {
    std::copy(blocks.begin(), blocks.end(), out.begin());
    return absl::OkStatus();
  }
  if (from != WeightFormat::kQ4 || !IsQuantized(to)) {
    return ConvertThroughFloats(from, blocks, to, out);
  }
  const auto convert = to == WeightFormat::kQ8 ? Widen : AddMinimum;
  for (int64_t block = 0; block < elements / kBlockElements; ++block) {
    const absl::Status status =
        convert(blocks.data() + block * BlockBytes(from),
                out.data() + block * BlockBytes(to));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace caravan
