// Half and bfloat16 numbers for kernels that compute in float32: conversions of
// single values and of pairs, and the few operations on pairs that dequantizing
// needs. The same code for nvcc and for the emulated device, whose host
// compiler sees NVIDIA's headers without most of their arithmetic.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_NUMBERS_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_NUMBERS_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace caravan::worker::cuda {

// Two adjacent values in one 32-bit register.
template <typename T>
struct PairType;
template <>
struct PairType<__half> {
  using Type = __half2;
};
template <>
struct PairType<__nv_bfloat16> {
  using Type = __nv_bfloat162;
};
template <>
struct PairType<float> {
  using Type = float2;
};
template <typename T>
using PairOf = typename PairType<T>::Type;

__host__ __device__ inline float ToFloat(float value) { return value; }
__host__ __device__ inline float ToFloat(__half value) {
  return __half2float(value);
}
__host__ __device__ inline float ToFloat(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
__host__ __device__ inline float2 ToFloat2(float2 pair) { return pair; }
__host__ __device__ inline float2 ToFloat2(__half2 pair) {
  return __half22float2(pair);
}
__host__ __device__ inline float2 ToFloat2(__nv_bfloat162 pair) {
  return __bfloat1622float2(pair);
}

// Rounds to nearest even.
template <typename T>
__host__ __device__ T FromFloat(float value);
template <>
__host__ __device__ inline float FromFloat<float>(float value) {
  return value;
}
template <>
__host__ __device__ inline __half FromFloat<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__host__ __device__ inline __nv_bfloat16 FromFloat<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}
template <typename T>
__host__ __device__ PairOf<T> FromFloat2(float2 pair);
template <>
__host__ __device__ inline float2 FromFloat2<float>(float2 pair) {
  return pair;
}
template <>
__host__ __device__ inline __half2 FromFloat2<__half>(float2 pair) {
  return __float22half2_rn(pair);
}
template <>
__host__ __device__ inline __nv_bfloat162 FromFloat2<__nv_bfloat16>(
    float2 pair) {
  return __float22bfloat162_rn(pair);
}

// The same 32 bits, as a pair and as the register that mma and loads use.
template <typename T>
__host__ __device__ inline PairOf<T> PairFromBits(uint32_t bits) {
  static_assert(sizeof(PairOf<T>) == sizeof(bits));
  PairOf<T> pair;
  memcpy(static_cast<void*>(&pair), &bits, sizeof(pair));
  return pair;
}
__host__ __device__ inline uint32_t BitsOf(__half2 pair) {
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}
__host__ __device__ inline uint32_t BitsOf(__nv_bfloat162 pair) {
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

// Element-wise, each result rounded once. FusedMultiplyAdd stands in
// device.cuh: the host headers have none.
__host__ __device__ inline __half2 Add(__half2 a, __half2 b) {
  return __hadd2(a, b);
}
__host__ __device__ inline __nv_bfloat162 Add(__nv_bfloat162 a,
                                              __nv_bfloat162 b) {
  return __hadd2(a, b);
}
__host__ __device__ inline __half2 Subtract(__half2 a, __half2 b) {
  return __hsub2(a, b);
}
__host__ __device__ inline __nv_bfloat162 Subtract(__nv_bfloat162 a,
                                                   __nv_bfloat162 b) {
  return __hsub2(a, b);
}
__host__ __device__ inline __half2 Multiply(__half2 a, __half2 b) {
  return __hmul2(a, b);
}
__host__ __device__ inline __nv_bfloat162 Multiply(__nv_bfloat162 a,
                                                   __nv_bfloat162 b) {
  return __hmul2(a, b);
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_NUMBERS_CUH_
