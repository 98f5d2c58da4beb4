// Quantizes rows of x for products with quantized weights. Internal linkage:
// kernels.h says why.
#ifndef CARAVAN_WORKER_BACKEND_CPU_QUANTIZE_KERNEL_H_
#define CARAVAN_WORKER_BACKEND_CPU_QUANTIZE_KERNEL_H_

#include <cstdint>

#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/simd.h"

namespace caravan::worker::cpu {
namespace {

// Smaller ones, whose inverse float32 may not hold, count as zeros.
constexpr float kLeastMagnitude = 0x1p-100f;

// The bits of the largest magnitude; those of numbers order as integers do, and
// infinities and NaNs come above all of them.
CARAVAN_INLINE int32_t LargestMagnitudeBits(const float* x) {
  IntVec largest = Bits(Zero());
  for (int i = 0; i < kQuantizedBlock; i += kLanes) {
    const IntVec magnitude = Bits(Load(x + i)) & 0x7fffffff;
    const IntVec above = magnitude > largest;
    largest = (magnitude & above) | (largest & ~above);
  }
  int32_t result = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    result = largest[lane] > result ? largest[lane] : result;
  }
  return result;
}

CARAVAN_INLINE void QuantizeBlock(const float* x, int8_t* values, float* scale,
                                  float* sum) {
  constexpr int32_t kInfinityBits = 0x7f800000;
  const int32_t bits = LargestMagnitudeBits(x);
  const float largest = __builtin_bit_cast(float, bits);
  if (bits >= kInfinityBits || largest < kLeastMagnitude) {
    __builtin_memset(values, 0, kQuantizedBlock);
    *scale = bits >= kInfinityBits ? __builtin_nanf("") : 0.0f;
    *sum = 0.0f;
    return;
  }
  *scale = largest / 127.0f;
  const Vec inverse = Set(127.0f / largest);
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Vec magic = Set(12582912.0f);
  int32_t quants[kQuantizedBlock];
  for (int i = 0; i < kQuantizedBlock; i += kLanes) {
    const IntVec rounded = Bits(Load(x + i) * inverse + magic) - Bits(magic);
    __builtin_memcpy(quants + i, &rounded, sizeof(rounded));
  }
  int32_t total = 0;
  for (int i = 0; i < kQuantizedBlock; ++i) {
    values[i] = static_cast<int8_t>(quants[i]);
    total += quants[i];
  }
  *sum = static_cast<float>(total);
}

inline void Quantize(const QuantizeArguments& a) {
  for (int64_t block = a.first_block; block < a.end_block; ++block) {
    for (int row = 0; row < a.num_rows; ++row) {
      const int64_t at = block * a.num_rows + row;
      QuantizeBlock(a.x + row * a.num_inputs + block * kQuantizedBlock,
                    a.out.values + at * kQuantizedBlock, a.out.scales + at,
                    a.out.sums + at);
    }
  }
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_QUANTIZE_KERNEL_H_
