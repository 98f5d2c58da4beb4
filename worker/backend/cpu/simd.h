// Vectors of float32 of the width that this translation unit is compiled for.
//
// The compiler's vector types give +, -, *, / on whole vectors; here is what
// they do not give. Everything has internal linkage on purpose: kernels.h says
// why.
#ifndef CARAVAN_WORKER_BACKEND_CPU_SIMD_H_
#define CARAVAN_WORKER_BACKEND_CPU_SIMD_H_

#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace caravan::worker::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
// Intrinsics without a mask begin with an undefined vector, of which GCC 12
// warns (GCC bug 105593); with this one they are the same instructions.
constexpr __mmask16 kAllLanes = 0xffff;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#else
constexpr int kLanes = 4;
constexpr int kRegisters = 16;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
// The same types in memory, at any address.
typedef float VecInMemory
    __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t IntVecInMemory
    __attribute__((vector_size(kLanes * 4), aligned(2), may_alias));
typedef float Quarter __attribute__((vector_size(16)));

#define CARAVAN_INLINE inline __attribute__((always_inline))

CARAVAN_INLINE Vec Load(const float* from) {
  return *reinterpret_cast<const VecInMemory*>(from);
}
CARAVAN_INLINE void Store(float* to, Vec value) {
  *reinterpret_cast<VecInMemory*>(to) = value;
}
CARAVAN_INLINE Vec Zero() { return Vec{}; }
CARAVAN_INLINE IntVec Bits(Vec value) {
  return reinterpret_cast<IntVec>(value);
}
CARAVAN_INLINE Vec FromBits(IntVec bits) { return reinterpret_cast<Vec>(bits); }

CARAVAN_INLINE Vec Set(float value) {
#if defined(__AVX512F__)
  return _mm512_set1_ps(value);
#elif defined(__AVX2__)
  return _mm256_set1_ps(value);
#else
  return Vec{value, value, value, value};
#endif
}

// a * b + c; rounded once where the machine can.
CARAVAN_INLINE Vec Fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

// a > b ? a : b in each lane, so b where one is not a number.
CARAVAN_INLINE Vec Max(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(kAllLanes, a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#else
  const IntVec mask = a > b;
  return FromBits((Bits(a) & mask) | (Bits(b) & ~mask));
#endif
}
CARAVAN_INLINE Vec Min(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_maskz_min_ps(kAllLanes, a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#else
  const IntVec mask = a < b;
  return FromBits((Bits(a) & mask) | (Bits(b) & ~mask));
#endif
}

// `value` where x >= bound or x is not a number, else 0.
CARAVAN_INLINE Vec ZeroBelow(Vec x, float bound, Vec value) {
#if defined(__AVX512F__)
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, Set(bound), _CMP_NLT_UQ),
                             value);
#else
  const IntVec below = x < Set(bound);
  return FromBits(Bits(value) & ~below);
#endif
}

CARAVAN_INLINE bool AnyAbove(Vec x, Vec bound) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(x, bound, _CMP_GT_OQ) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(x, bound, _CMP_GT_OQ)) != 0;
#else
  const IntVec above = x > bound;
  return (above[0] | above[1] | above[2] | above[3]) != 0;
#endif
}

// float16 to float32, exactly. `from`: kLanes elements.
CARAVAN_INLINE Vec LoadFloat16(const uint16_t* from) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(
      kAllLanes, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  IntVec half = {from[0], from[1], from[2], from[3]};
  const IntVec magnitude = (half & 0x7fff) << 13;
  // The exponent's bias differs by 112; a product also sets subnormals right.
  const IntVec finite = Bits(FromBits(magnitude) * Set(0x1p112f));
  const IntVec not_finite = magnitude >= (0x7c00 << 13);
  return FromBits(((half & 0x8000) << 16) | finite | (not_finite & 0x7f800000));
#endif
}

// bfloat16 to float32, exactly: the upper half of its bits. As LoadFloat16.
CARAVAN_INLINE Vec LoadBFloat16(const uint16_t* from) {
#if defined(__AVX512F__)
  return FromBits(reinterpret_cast<IntVec>(_mm512_maskz_cvtepu16_epi32(
                      kAllLanes, _mm256_loadu_si256(
                                     reinterpret_cast<const __m256i*>(from))))
                  << 16);
#elif defined(__AVX2__)
  return FromBits(reinterpret_cast<IntVec>(_mm256_cvtepu16_epi32(
                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))))
                  << 16);
#else
  const IntVec half = {from[0], from[1], from[2], from[3]};
  return FromBits(half << 16);
#endif
}

CARAVAN_INLINE void Prefetch(const void* address) {
  __builtin_prefetch(address, 0, 3);
}

// 16 lanes are kVectors16 vectors. Sums and maxima over them combine lanes in
// the same order for every width: i with i + 8, + 4, + 2, + 1.
constexpr int kVectors16 = 16 / kLanes;

struct Quarters {
  Quarter part[4];
};
CARAVAN_INLINE Quarters Split16(const Vec (&value)[kVectors16]) {
  Quarters quarters;
  __builtin_memcpy(&quarters, &value, sizeof(quarters));
  return quarters;
}

CARAVAN_INLINE float Sum16(const Vec (&value)[kVectors16]) {
  const Quarters q = Split16(value);
  const Quarter sum = (q.part[0] + q.part[2]) + (q.part[1] + q.part[3]);
  return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

CARAVAN_INLINE float MaxOf(float a, float b) { return a > b ? a : b; }

CARAVAN_INLINE float Max16(const Vec (&value)[kVectors16]) {
  float lanes[16];
  __builtin_memcpy(&lanes, &value, sizeof(lanes));
  float result = lanes[0];
  for (int i = 1; i < 16; ++i) result = MaxOf(lanes[i], result);
  return result;
}

// e^x, relative error under 2e-7; 0 below -87.3, 2.4e38 above 88.37; NaN stays.
// Cody-Waite reduction and the polynomial of Cephes' expf (Moshier, 1989).
CARAVAN_INLINE Vec Exp(Vec x) {
  constexpr float kLeast = -87.3365478515625f;
  const Vec clamped = Min(Set(88.3762626647949f), Max(Set(kLeast), x));
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Vec magic = Set(12582912.0f);
  const Vec shifted = Fma(clamped, Set(1.44269504088896341f), magic);
  const Vec n = shifted - magic;
  Vec r = Fma(n, Set(-0.693359375f), clamped);
  r = Fma(n, Set(2.12194440e-4f), r);
  Vec p = Set(1.9875691500e-4f);
  p = Fma(p, r, Set(1.3981999507e-3f));
  p = Fma(p, r, Set(8.3334519073e-3f));
  p = Fma(p, r, Set(4.1665795894e-2f));
  p = Fma(p, r, Set(1.6666665459e-1f));
  p = Fma(p, r, Set(5.0000001201e-1f));
  p = Fma(p, r * r, r) + Set(1.0f);
  const IntVec exponent = (Bits(shifted) - Bits(magic) + 127) << 23;
  return ZeroBelow(x, kLeast, p * FromBits(exponent));
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_SIMD_H_
