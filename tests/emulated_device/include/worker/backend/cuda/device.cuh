// The twin of worker/backend/cuda/device.cuh for the emulated device: the same
// names, and the intrinsics that only nvcc declares, for the host compiler.
// Here a kernel is an ordinary function that a fiber per thread calls.
// What a name means stands in the original.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CUH_

#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/emulated_device/include/cuda_intrinsics.h"
#include "tests/emulated_device/runtime/launch.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/numbers.cuh"

#define CARAVAN_SHARED(type, name, ...)           \
  static const char name##_tag = 0;               \
  using name##_type = type __VA_ARGS__;           \
  name##_type& name = *static_cast<name##_type*>( \
      ::caravan::emulated::StaticShared(&name##_tag, sizeof(name##_type)))
#define CARAVAN_DYNAMIC_SHARED(name) \
  unsigned char* const name = ::caravan::emulated::DynamicShared()

namespace caravan::worker::cuda {

constexpr unsigned kFullWarp = 0xffffffffu;

template <typename... Parameters, typename... Arguments>
[[nodiscard]] cudaError_t Launch(void (*kernel)(Parameters...),
                                 const LaunchShape& shape, cudaStream_t stream,
                                 Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  // Copied now, as the device does.
  std::tuple<std::remove_cv_t<Parameters>...> copies(
      static_cast<Parameters>(arguments)...);
  return emulated::EnqueueKernel(
      reinterpret_cast<const void*>(kernel),
      {shape.grid, shape.block, shape.shared_bytes, shape.cooperative,
       shape.overlap_previous},
      stream, [kernel, copies] { std::apply(kernel, copies); });
}

// ---- Copies from global to shared memory.
inline void CpAsync16(void* shared, const void* global, bool valid,
                      CARAVAN_HERE) {
  emulated::CopyAsync(shared, global, 16, valid, {file, line});
}
inline void CpAsync16(void* shared, const void* global, CARAVAN_HERE) {
  emulated::CopyAsync(shared, global, 16, true, {file, line});
}
inline void CpAsync8(void* shared, const void* global, CARAVAN_HERE) {
  emulated::CopyAsync(shared, global, 8, true, {file, line});
}
inline void CpAsync4(void* shared, const void* global, CARAVAN_HERE) {
  emulated::CopyAsync(shared, global, 4, true, {file, line});
}
inline void CpAsyncCommit() { emulated::CommitCopies(); }
template <int kGroups>
void CpAsyncWait() {
  emulated::WaitForCopies(kGroups);
}

// ---- Tensor cores.
inline void LdMatrixX4(uint32_t (&r)[4], const void* row, CARAVAN_HERE) {
  emulated::LoadMatrices(r, 4, /*transposed=*/false, row, {file, line});
}
inline void LdMatrixX4Transposed(uint32_t (&r)[4], const void* row,
                                 CARAVAN_HERE) {
  emulated::LoadMatrices(r, 4, /*transposed=*/true, row, {file, line});
}
inline void LdMatrixX2(uint32_t (&r)[2], const void* row, CARAVAN_HERE) {
  emulated::LoadMatrices(r, 2, /*transposed=*/false, row, {file, line});
}
inline void LdMatrixX2Transposed(uint32_t (&r)[2], const void* row,
                                 CARAVAN_HERE) {
  emulated::LoadMatrices(r, 2, /*transposed=*/true, row, {file, line});
}
template <typename T>
void Mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
         CARAVAN_HERE) {
  static_assert(std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>);
  constexpr bool kIsHalf = std::is_same_v<T, __half>;
  emulated::MultiplyMatrices(
      kIsHalf ? emulated::MatrixType::kHalf : emulated::MatrixType::kBfloat16,
      d, a, b, {file, line});
}
inline void MmaS8(int32_t (&d)[4], const uint32_t (&a)[4],
                  const uint32_t (&b)[2], int32_t start, CARAVAN_HERE) {
  for (int32_t& sum : d) sum = start;
  emulated::MultiplyMatrices(emulated::MatrixType::kInt8, d, a, b,
                             {file, line});
}
inline int Dp4a(int a, int b, int sum) {
  unsigned result = static_cast<unsigned>(sum);  // wraps around
  for (int i = 0; i < 4; ++i) {
    const int product =
        static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    result += static_cast<unsigned>(product);
  }
  return static_cast<int>(result);
}

// The product is exact in double, so that only the result is rounded.
inline __half2 FusedMultiplyAdd(__half2 a, __half2 b, __half2 c) {
  const float2 x = ToFloat2(a), y = ToFloat2(b), z = ToFloat2(c);
  return {__double2half(double{x.x} * y.x + z.x),
          __double2half(double{x.y} * y.y + z.y)};
}
inline __nv_bfloat162 FusedMultiplyAdd(__nv_bfloat162 a, __nv_bfloat162 b,
                                       __nv_bfloat162 c) {
  const float2 x = ToFloat2(a), y = ToFloat2(b), z = ToFloat2(c);
  return {__double2bfloat16(double{x.x} * y.x + z.x),
          __double2bfloat16(double{x.y} * y.y + z.y)};
}

// ---- Global memory.
template <typename T>
T LoadAligned(const T* address, emulated::Site site) {
  emulated::CheckAlignment(address, sizeof(T), "a streaming load is", site);
  return *address;
}
inline uint4 LoadStreaming(const uint4* address, CARAVAN_HERE) {
  return LoadAligned(address, {file, line});
}
inline uint2 LoadStreaming(const uint2* address, CARAVAN_HERE) {
  return LoadAligned(address, {file, line});
}
inline uint32_t LoadStreaming(const uint32_t* address, CARAVAN_HERE) {
  return LoadAligned(address, {file, line});
}
inline void PrefetchToL2(const void* address) { emulated::Prefetch(address); }
inline unsigned LoadAcquire(const unsigned* address) {
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}
inline void StoreRelease(unsigned* address, unsigned value) {
  __atomic_store_n(address, value, __ATOMIC_RELEASE);
}
inline void SpinPause(CARAVAN_HERE) { emulated::Yield({file, line}); }

// ---- Whole grids.
inline void GridSync(CARAVAN_HERE) { emulated::GridBarrier({file, line}); }
inline void WaitForPreviousKernel() { emulated::WaitForPreviousKernel(); }
inline void LetNextKernelStart() {}

// ---- Reductions.
struct Indexed {
  float value;
  int index;
};

template <typename T>
constexpr emulated::Reduction SumOf() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, int>);
  return std::is_same_v<T, float> ? emulated::Reduction::kSumFloat
                                  : emulated::Reduction::kSumInt;
}
template <typename T>
constexpr emulated::Reduction MaxOf() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, int> ||
                std::is_same_v<T, Indexed>);
  if (std::is_same_v<T, float>) return emulated::Reduction::kMaxFloat;
  return std::is_same_v<T, int> ? emulated::Reduction::kMaxInt
                                : emulated::Reduction::kMaxIndexed;
}

template <int kWidth = 32, typename T>
T WarpSum(T value, CARAVAN_HERE) {
  static_assert(kWidth > 0 && kWidth <= 32 && (kWidth & (kWidth - 1)) == 0);
  emulated::WarpReduce(SumOf<T>(), kWidth, &value, {file, line});
  return value;
}
template <int kWidth = 32, typename T>
T WarpMax(T value, CARAVAN_HERE) {
  static_assert(kWidth > 0 && kWidth <= 32 && (kWidth & (kWidth - 1)) == 0);
  emulated::WarpReduce(MaxOf<T>(), kWidth, &value, {file, line});
  return value;
}
template <int kThreads, typename T>
T BlockSum(T value, CARAVAN_HERE) {
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
  emulated::BlockReduce(SumOf<T>(), kThreads, &value, {file, line});
  return value;
}
template <int kThreads>
float BlockMax(float value, CARAVAN_HERE) {
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
  emulated::BlockReduce(MaxOf<float>(), kThreads, &value, {file, line});
  return value;
}
template <int kThreads>
Indexed BlockMax(Indexed value, CARAVAN_HERE) {
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
  emulated::BlockReduce(MaxOf<Indexed>(), kThreads, &value, {file, line});
  return value;
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CUH_
