// The names that nvcc knows without a declaration, for kernels compiled by the
// host compiler: indices, barriers, shuffles, votes, atomics, arithmetic.
// Included through device.cuh's twin only.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_INCLUDE_CUDA_INTRINSICS_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_INCLUDE_CUDA_INTRINSICS_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tests/emulated_device/engine/execution.h"

// A promise to nvcc about registers; nothing to be checked here.
#undef __launch_bounds__
#define __launch_bounds__(...)

#define threadIdx (::caravan::emulated::current_thread->index)
#define blockIdx (::caravan::emulated::current_thread->block->index)
#define blockDim (::caravan::emulated::current_thread->block->grid->block_dim)
#define gridDim (::caravan::emulated::current_thread->block->grid->grid_dim)

// Last parameters of a function that wants to know where it is called.
#define CARAVAN_HERE \
  int line = __builtin_LINE(), const char *file = __builtin_FILE()

// ---- Barriers and fences.
inline void __syncthreads(CARAVAN_HERE) {
  caravan::emulated::BlockBarrier({file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CARAVAN_HERE) {
  caravan::emulated::WarpBarrier(mask, {file, line});
}
inline void __threadfence() { caravan::emulated::Fence(); }
inline void __threadfence_block() { caravan::emulated::Fence(); }

// ---- Shuffles: within groups of `width` lanes; a lane whose source lies
// outside its group keeps its value.
template <typename T>
T ShuffleFrom(const caravan::emulated::WarpCall& call, T value, int source,
              bool inside) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  T received = value;
  const int own = caravan::emulated::CurrentLane();
  caravan::emulated::Exchange(call, &value, sizeof(T), inside ? source : own,
                              &received);
  return received;
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              CARAVAN_HERE) {
  const int group = caravan::emulated::CurrentLane() / width * width;
  return ShuffleFrom({mask, "__shfl_sync", {file, line}}, value,
                     group + (source & (width - 1)), true);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  CARAVAN_HERE) {
  const int lane = caravan::emulated::CurrentLane();
  const int source = lane ^ lane_mask;
  return ShuffleFrom({mask, "__shfl_xor_sync", {file, line}}, value, source,
                     source / width <= lane / width);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   CARAVAN_HERE) {
  const int lane = caravan::emulated::CurrentLane();
  const int source = lane + static_cast<int>(delta);
  return ShuffleFrom({mask, "__shfl_down_sync", {file, line}}, value, source,
                     source < lane / width * width + width);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 CARAVAN_HERE) {
  const int lane = caravan::emulated::CurrentLane();
  const int source = lane - static_cast<int>(delta);
  return ShuffleFrom({mask, "__shfl_up_sync", {file, line}}, value, source,
                     source >= lane / width * width);
}

// ---- Votes.
inline unsigned __ballot_sync(unsigned mask, int predicate, CARAVAN_HERE) {
  return caravan::emulated::Ballot({mask, "__ballot_sync", {file, line}},
                                   predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate, CARAVAN_HERE) {
  return caravan::emulated::Ballot({mask, "__any_sync", {file, line}},
                                   predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CARAVAN_HERE) {
  return caravan::emulated::Ballot({mask, "__all_sync", {file, line}},
                                   predicate != 0) == mask;
}

// ---- Atomics: relaxed, as on the device; order comes from fences.
template <typename T, typename Update>
T AtomicUpdate(T* address, Update update) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  Bits* bits = reinterpret_cast<Bits*>(address);
  Bits old = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(
      bits, &old, std::bit_cast<Bits>(update(std::bit_cast<T>(old))), false,
      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return std::bit_cast<T>(old);
}
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return AtomicUpdate(address,
                      [value](T old) { return static_cast<T>(old + value); });
}
template <typename T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return AtomicUpdate(address, [value](T old) { return std::max(old, value); });
}
template <typename T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return AtomicUpdate(address, [value](T old) { return std::min(old, value); });
}
template <typename T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return AtomicUpdate(address, [value](T) { return value; });
}
template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected,
            std::type_identity_t<T> value) {
  return AtomicUpdate(address,
                      [=](T old) { return old == expected ? value : old; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return AtomicUpdate(
      address, [limit](unsigned old) { return old >= limit ? 0u : old + 1; });
}

// ---- Loads and stores with cache hints.
template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
void __stcs(T* address, T value) {
  *address = value;
}
template <typename T>
void __stcg(T* address, T value) {
  *address = value;
}

// ---- Arithmetic. The fast forms are exact here.
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.0f / std::sqrt(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __expf(float x) { return std::exp(x); }
inline float __exp2f(float x) { return std::exp2(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __saturatef(float x) { return std::fmin(std::fmax(x, 0), 1); }
inline int __float2int_rn(float x) {
  return static_cast<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) {
  return x == 0 ? 0 : 1 + std::countr_zero(static_cast<unsigned>(x));
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(uint64_t{a} * b >> 32);
}
// Four bytes of (y, x), each chosen by three bits of the selector.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned chosen = selector >> (4 * i) & 7;
    result |= static_cast<unsigned>(bytes >> (8 * chosen) & 0xff) << (8 * i);
  }
  return result;
}
template <typename T>
  requires std::is_arithmetic_v<T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
  requires std::is_arithmetic_v<T>
T max(T a, T b) {
  return a < b ? b : a;
}

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_INCLUDE_CUDA_INTRINSICS_H_
