#include "worker/comm/bfloat16_values.h"

#include <bit>
#include <cstddef>

namespace caravan::worker {
namespace {

constexpr uint16_t kNan = 0x7fff;

// Without branches, so that loops over it are vectorized.
inline uint16_t Round(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>(is_nan ? kNan : rounded);
}

}  // namespace

void RoundToBFloat16(absl::Span<const float> values,
                     absl::Span<uint16_t> rounded) {
  const float* const from = values.data();
  uint16_t* const to = rounded.data();
  for (size_t i = 0; i < values.size(); ++i) to[i] = Round(from[i]);
}

void WidenBFloat16(absl::Span<const uint16_t> rounded,
                   absl::Span<float> values) {
  const uint16_t* const from = rounded.data();
  float* const to = values.data();
  for (size_t i = 0; i < rounded.size(); ++i) {
    to[i] = std::bit_cast<float>(uint32_t{from[i]} << 16);
  }
}

}  // namespace caravan::worker
