// Products of bytes in vectors, for quantized_kernels.h. Internal linkage:
// kernels.h says why.
//
// A vector has kLanes words of four bytes: four inputs of one output each. The
// sums here are exact in every instruction set.
#ifndef CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_SIMD_H_
#define CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_SIMD_H_

#include <cstdint>

#include "worker/backend/cpu/simd.h"

namespace caravan::worker::cpu {
namespace {

typedef int16_t ShortVec __attribute__((vector_size(kLanes * 4)));

CARAVAN_INLINE IntVec LoadWords(const void* from) {
  return *static_cast<const IntVecInMemory*>(from);
}

// The same four bytes in every word.
CARAVAN_INLINE IntVec BroadcastWord(const int8_t* from) {
  int32_t word;
  __builtin_memcpy(&word, from, sizeof(word));
#if defined(__AVX512F__)
  return reinterpret_cast<IntVec>(_mm512_set1_epi32(word));
#elif defined(__AVX2__)
  return reinterpret_cast<IntVec>(_mm256_set1_epi32(word));
#else
  return IntVec{word, word, word, word};
#endif
}

CARAVAN_INLINE ShortVec Shorts(IntVec words) {
  return reinterpret_cast<ShortVec>(words);
}

// The bytes 0 and 2, or 1 and 3, of each word as two numbers with sign.
CARAVAN_INLINE ShortVec EvenBytes(IntVec words) {
  return Shorts(words) << 8 >> 8;
}
CARAVAN_INLINE ShortVec OddBytes(IntVec words) { return Shorts(words) >> 8; }

// For each word the sums w0 * x0 + w1 * x1 and w2 * x2 + w3 * x3 (which bytes
// go together is not the same everywhere: only the sum of both is). w: 0 to 15,
// so that eight of these sums fit: 8 * 2 * 15 * 127 = 30480.
CARAVAN_INLINE ShortVec MultiplyNibbles(IntVec w, IntVec x) {
#if defined(__AVX512F__)
  return reinterpret_cast<ShortVec>(_mm512_maddubs_epi16(
      reinterpret_cast<__m512i>(w), reinterpret_cast<__m512i>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<ShortVec>(_mm256_maddubs_epi16(
      reinterpret_cast<__m256i>(w), reinterpret_cast<__m256i>(x)));
#else
  return EvenBytes(w) * EvenBytes(x) + OddBytes(w) * OddBytes(x);
#endif
}

// The two sums of each word together.
CARAVAN_INLINE IntVec SumPairs(ShortVec pairs) {
#if defined(__AVX512F__)
  return reinterpret_cast<IntVec>(_mm512_madd_epi16(
      reinterpret_cast<__m512i>(pairs), _mm512_set1_epi16(1)));
#elif defined(__AVX2__)
  return reinterpret_cast<IntVec>(_mm256_madd_epi16(
      reinterpret_cast<__m256i>(pairs), _mm256_set1_epi16(1)));
#else
  const IntVec words = reinterpret_cast<IntVec>(pairs);
  return (words << 16 >> 16) + (words >> 16);
#endif
}

// A weight of signed bytes, -128 among them, in the form in which it is
// multiplied several times: magnitudes of up to 128, and signs.
struct SignedBytes {
  IntVec magnitudes;
#if defined(__AVX512F__)
  __mmask64 negative;
#else
  IntVec bytes;
#endif
};

CARAVAN_INLINE SignedBytes SplitSigns(IntVec w) {
#if defined(__AVX512F__)
  const __m512i bytes = reinterpret_cast<__m512i>(w);
  return {reinterpret_cast<IntVec>(_mm512_abs_epi8(bytes)),
          _mm512_movepi8_mask(bytes)};
#elif defined(__AVX2__)
  return {
      reinterpret_cast<IntVec>(_mm256_abs_epi8(reinterpret_cast<__m256i>(w))),
      w};
#else
  return {w, w};
#endif
}

// For each word w0 * x0 + ... + w3 * x3. x: -127 to 127, so that two products
// fit into 16 bits: 2 * 128 * 127 = 32512.
CARAVAN_INLINE IntVec MultiplyBytes(const SignedBytes& w, IntVec x) {
#if defined(__AVX512F__)
  const __m512i bytes = reinterpret_cast<__m512i>(x);
  const __m512i turned =
      _mm512_mask_sub_epi8(bytes, w.negative, _mm512_setzero_si512(), bytes);
  return SumPairs(
      MultiplyNibbles(w.magnitudes, reinterpret_cast<IntVec>(turned)));
#elif defined(__AVX2__)
  const __m256i turned = _mm256_sign_epi8(reinterpret_cast<__m256i>(x),
                                          reinterpret_cast<__m256i>(w.bytes));
  return SumPairs(
      MultiplyNibbles(w.magnitudes, reinterpret_cast<IntVec>(turned)));
#else
  return SumPairs(EvenBytes(w.bytes) * EvenBytes(x) +
                  OddBytes(w.bytes) * OddBytes(x));
#endif
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_SIMD_H_
