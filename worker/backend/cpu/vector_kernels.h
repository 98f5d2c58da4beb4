// Kernels over single vectors. Internal linkage: kernels.h says why.
#ifndef CARAVAN_WORKER_BACKEND_CPU_VECTOR_KERNELS_H_
#define CARAVAN_WORKER_BACKEND_CPU_VECTOR_KERNELS_H_

#include <cstdint>

#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/simd.h"

namespace caravan::worker::cpu {
namespace {

CARAVAN_INLINE float SumOfSquares(const float* x, int64_t count) {
  Vec sum[kVectors16];
  for (int v = 0; v < kVectors16; ++v) sum[v] = Zero();
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (int v = 0; v < kVectors16; ++v) {
      const Vec value = Load(x + i + v * kLanes);
      sum[v] = Fma(value, value, sum[v]);
    }
  }
  if (i < count) {
    float rest[16] = {};
    __builtin_memcpy(rest, x + i, (count - i) * sizeof(float));
    for (int v = 0; v < kVectors16; ++v) {
      const Vec value = Load(rest + v * kLanes);
      sum[v] = Fma(value, value, sum[v]);
    }
  }
  return Sum16(sum);
}

inline void RmsNorm(const float* x, const float* weight, float epsilon,
                    int64_t count, float* out) {
  const float mean = SumOfSquares(x, count) / static_cast<float>(count);
  const float factor = 1.0f / __builtin_sqrtf(mean + epsilon);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Store(out + i, Load(x + i) * Set(factor) * Load(weight + i));
  }
  for (; i < count; ++i) out[i] = x[i] * factor * weight[i];
}

CARAVAN_INLINE Vec GatedSiluOf(Vec gate, Vec up) {
  return gate / (Set(1.0f) + Exp(Zero() - gate)) * up;
}

inline void GatedSilu(const float* gate, const float* up, int64_t count,
                      float* out) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Store(out + i, GatedSiluOf(Load(gate + i), Load(up + i)));
  }
  if (i < count) {
    const int64_t bytes = (count - i) * static_cast<int64_t>(sizeof(float));
    float rest_gate[kLanes] = {};
    float rest_up[kLanes] = {};
    __builtin_memcpy(rest_gate, gate + i, bytes);
    __builtin_memcpy(rest_up, up + i, bytes);
    Store(rest_gate, GatedSiluOf(Load(rest_gate), Load(rest_up)));
    __builtin_memcpy(out + i, rest_gate, bytes);
  }
}

// Products and sums are rounded one by one, as in the models' definition.
inline void Rotate(const float* in, const float* cos, const float* sin,
                   int64_t half, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Vec first = Load(in + i);
    const Vec second = Load(in + half + i);
    const Vec c = Load(cos + i);
    const Vec s = Load(sin + i);
    Store(out + i, first * c - second * s);
    Store(out + half + i, second * c + first * s);
  }
  for (; i < half; ++i) {
    const float first = in[i];
    const float second = in[half + i];
    out[i] = first * cos[i] - second * sin[i];
    out[half + i] = second * cos[i] + first * sin[i];
  }
}

inline int64_t FindAbove(const float* values, int64_t begin, int64_t end,
                         float threshold) {
  const Vec bound = Set(threshold);
  int64_t i = begin;
  for (; i + 4 * kLanes <= end; i += 4 * kLanes) {
    bool found = false;
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      found |= AnyAbove(Load(values + i + v * kLanes), bound);
    }
    if (found) break;
  }
  for (; i < end; ++i) {
    if (values[i] > threshold) return i;
  }
  return end;
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_VECTOR_KERNELS_H_
