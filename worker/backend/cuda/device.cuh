// Every spelling that only CUDA knows: shared memory, launches, PTX,
// reductions.
//
// Kernels include this header and nothing else of CUDA, so that the same .cu
// file is compiled twice: by nvcc with this header, and by the host compiler
// with its twin in tests/emulated_device/include, which comes first in the
// include path there and runs the kernel on an emulated device. The two declare
// the same names; what is added here is added there, with its test.
//
// Rules for kernels:
// 1. This header only; PTX and cooperative groups stay in it.
// 2. Launch(kernel, shape, stream, arguments...), never <<<>>>.
// 3. Shared memory by CARAVAN_SHARED and CARAVAN_DYNAMIC_SHARED; it starts
//    undefined.
// 4. Warp intrinsics are the _sync ones. Every lane named in a mask is alive
// and
//    arrives at the same place; no lane returns before a collective.
// 5. Sums and maxima over a warp or block by the functions below.
// 6. Arithmetic in float32 (numbers.cuh converts). No branch on __CUDA_ARCH__,
// no
//    printf, no textures, no __constant__.
// 7. Tests go to ragged sizes and to the exact maximum of every dimension.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CUH_

#include <cooperative_groups.h>

#include <cmath>
#include <type_traits>

#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/numbers.cuh"

// CARAVAN_SHARED(float, partial, [32]) declares float partial[32] in shared
// memory, CARAVAN_SHARED(int, count) a single value.
#define CARAVAN_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
// unsigned char name[shared_bytes of the launch], 128-byte aligned.
#define CARAVAN_DYNAMIC_SHARED(name) \
  extern __shared__ __align__(128) unsigned char name[]

namespace caravan::worker::cuda {

constexpr unsigned kFullWarp = 0xffffffffu;

// Whether kernels on the current device may begin before the one before them in
// the stream has ended: whether WaitForPreviousKernel is in the code that runs
// there, which on a newer device may have been made for an older one. All
// kernels of a build are compiled for the same devices, so one tells.
inline bool CanOverlapKernels(const void* kernel) {
  constexpr int kFirstVersion = 90;
  struct Known {
    int device = -1;
    bool can_overlap = false;
  };
  static thread_local Known known;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  if (device != known.device) {
    cudaFuncAttributes attributes = {};
    if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) return false;
    known = {device, attributes.ptxVersion >= kFirstVersion};
  }
  return known.can_overlap;
}

// Starts kernel(arguments...) on `stream`; arguments are converted to the
// kernel's parameter types and copied. The result tells of a bad shape only;
// what goes wrong while the kernel runs is reported by a later call.
template <typename... Parameters, typename... Arguments>
[[nodiscard]] cudaError_t Launch(void (*kernel)(Parameters...),
                                 const LaunchShape& shape, cudaStream_t stream,
                                 Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (shape.cooperative) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  if (shape.overlap_previous &&
      CanOverlapKernels(reinterpret_cast<const void*>(kernel))) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  return cudaLaunchKernelEx(&config, kernel,
                            static_cast<Parameters>(arguments)...);
}

__device__ __forceinline__ unsigned SharedAddress(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// ---- Copies from global to shared memory that run beside the computation.
// Both addresses are aligned to the size. Committed copies form groups; after
// CpAsyncWait<N> all but this thread's N last groups have arrived, for this
// thread: others see them after a barrier. What is read earlier is undefined.
__device__ __forceinline__ void CpAsync16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;\n" ::"r"(
                   SharedAddress(shared)),
               "l"(global)
               : "memory");
}
// Writes zeros instead, and reads nothing, if `valid` is false.
__device__ __forceinline__ void CpAsync16(void* shared, const void* global,
                                          bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(
                   SharedAddress(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void CpAsync8(void* shared, const void* global) {
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 8;\n" ::"r"(SharedAddress(shared)),
      "l"(global)
      : "memory");
}
__device__ __forceinline__ void CpAsync4(void* shared, const void* global) {
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 4;\n" ::"r"(SharedAddress(shared)),
      "l"(global)
      : "memory");
}
__device__ __forceinline__ void CpAsyncCommit() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}
template <int kGroups>
__device__ __forceinline__ void CpAsyncWait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kGroups) : "memory");
}

// ---- Tensor cores. All 32 lanes call. With g = lane / 4 and t = lane % 4, a
// register of a fragment holds (16-bit types) two or (8-bit) four neighbours:
//   A (16 x K, row-major):  a[i] = A[g + 8 * (i % 2)][ (i / 2) * K/2 + t * n
//   ...] B (K x 8, column-wise): b[i] = B[i * K/2 + t * n ...][g] D (16 x 8):
//   d[i] = D[g + 8 * (i / 2)][2 * t + i % 2]
// with n = 2, K = 16 for Mma and n = 4, K = 32 for MmaS8.

// Loads four 8 x 8 matrices of 16-bit values: lane l gives the address, 16-byte
// aligned in shared memory, of row l % 8 of matrix l / 8; r[i] receives from
// matrix i its row g, columns 2 * t and 2 * t + 1.
__device__ __forceinline__ void LdMatrixX4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}
// The same with each matrix transposed: rows 2 * t and 2 * t + 1, column g.
__device__ __forceinline__ void LdMatrixX4Transposed(uint32_t (&r)[4],
                                                     const void* row) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(SharedAddress(row))
      : "memory");
}
// Two matrices; lanes 16 and up give any valid address.
__device__ __forceinline__ void LdMatrixX2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LdMatrixX2Transposed(uint32_t (&r)[2],
                                                     const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(SharedAddress(row))
               : "memory");
}

// d += a * b in float32, for T = __half or __nv_bfloat16.
template <typename T>
__device__ __forceinline__ void Mma(float (&d)[4], const uint32_t (&a)[4],
                                    const uint32_t (&b)[2]) {
  static_assert(std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>);
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}
// d = a * b + start, signed bytes with 32-bit sums.
__device__ __forceinline__ void MmaS8(int32_t (&d)[4], const uint32_t (&a)[4],
                                      const uint32_t (&b)[2], int32_t start) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};\n"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
        "r"(start));
}
// sum + the dot product of four signed bytes.
__device__ __forceinline__ int Dp4a(int a, int b, int sum) {
  return __dp4a(a, b, sum);
}

// a * b + c element by element, rounded once.
__device__ __forceinline__ __half2 FusedMultiplyAdd(__half2 a, __half2 b,
                                                    __half2 c) {
  return __hfma2(a, b, c);
}
__device__ __forceinline__ __nv_bfloat162 FusedMultiplyAdd(__nv_bfloat162 a,
                                                           __nv_bfloat162 b,
                                                           __nv_bfloat162 c) {
  return __hfma2(a, b, c);
}

// ---- Global memory.
// For data that no kernel writes while this one runs and that is read once:
// past L1, aligned to its size.
__device__ __forceinline__ uint4 LoadStreaming(const uint4* address) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}
__device__ __forceinline__ uint2 LoadStreaming(const uint2* address) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];\n"
               : "=r"(v.x), "=r"(v.y)
               : "l"(address));
  return v;
}
__device__ __forceinline__ uint32_t LoadStreaming(const uint32_t* address) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];\n"
               : "=r"(v)
               : "l"(address));
  return v;
}
// Asks for the 128 bytes around an address, which another thread or a later
// load will want. Only where kernels overlap, before sm_90 it does nothing.
__device__ __forceinline__ void PrefetchToL2(const void* address) {
#if __CUDA_ARCH__ >= 900
  asm volatile("prefetch.global.L2 [%0];\n" ::"l"(address));
#endif
}
// A flag between blocks: what was written before the release is seen after the
// acquire that reads its value.
__device__ __forceinline__ unsigned LoadAcquire(const unsigned* address) {
  unsigned v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];\n"
               : "=r"(v)
               : "l"(address)
               : "memory");
  return v;
}
__device__ __forceinline__ void StoreRelease(unsigned* address,
                                             unsigned value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;\n" ::"l"(address),
               "r"(value)
               : "memory");
}
// In a loop that waits for another resident block.
__device__ __forceinline__ void SpinPause() { __nanosleep(20); }

// ---- Whole grids.
// A barrier over all threads of a cooperative launch; orders their memory.
__device__ __forceinline__ void GridSync() {
  cooperative_groups::this_grid().sync();
}
// Returns when all earlier work of the stream is complete and visible. For
// launches with overlap_previous; otherwise, and before sm_90, no effect.
__device__ __forceinline__ void WaitForPreviousKernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}
// Once every block has called this or ended, an overlapping next kernel may
// begin.
__device__ __forceinline__ void LetNextKernelStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

// ---- Reductions; every caller receives the result, in an order that depends
// on the width alone.
// The largest value and where it is; the smaller index of equals.
struct Indexed {
  float value;
  int index;
};

struct AddOperation {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct MaxOperation {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
  __device__ __forceinline__ float operator()(float a, float b) const {
    return fmaxf(a, b);
  }
  __device__ __forceinline__ Indexed operator()(Indexed a, Indexed b) const {
    const bool second =
        b.value > a.value || (b.value == a.value && b.index < a.index);
    return second ? b : a;
  }
};

template <typename T>
__device__ __forceinline__ T ShuffleXor(T value, int mask) {
  return __shfl_xor_sync(kFullWarp, value, mask);
}
template <>
__device__ __forceinline__ Indexed ShuffleXor<Indexed>(Indexed value,
                                                       int mask) {
  return {__shfl_xor_sync(kFullWarp, value.value, mask),
          __shfl_xor_sync(kFullWarp, value.index, mask)};
}

template <int kWidth, typename Operation, typename T>
__device__ __forceinline__ T WarpReduce(T value) {
  static_assert(kWidth > 0 && kWidth <= 32 && (kWidth & (kWidth - 1)) == 0);
#pragma unroll
  for (int offset = kWidth / 2; offset > 0; offset /= 2) {
    value = Operation()(value, ShuffleXor(value, offset));
  }
  return value;
}
// Over each group of kWidth adjacent lanes; all 32 lanes call. T: float, int.
template <int kWidth = 32, typename T>
__device__ __forceinline__ T WarpSum(T value) {
  return WarpReduce<kWidth, AddOperation>(value);
}
// T: float, int, Indexed.
template <int kWidth = 32, typename T>
__device__ __forceinline__ T WarpMax(T value) {
  return WarpReduce<kWidth, MaxOperation>(value);
}

template <int kThreads, typename Operation, typename T>
__device__ __forceinline__ T BlockReduce(T value, T identity) {
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
  __shared__ T partial[kThreads / 32];
  const int lane = threadIdx.x % 32;
  value = WarpReduce<32, Operation>(value);
  if (lane == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  value = lane < kThreads / 32 ? partial[lane] : identity;
  value = WarpReduce<32, Operation>(value);
  __syncthreads();  // `partial` is free again
  return value;
}
// Over the block, which is kThreads x 1 x 1. Each contains barriers: what a
// thread wrote before is seen by all after. T: float, int.
template <int kThreads, typename T>
__device__ __forceinline__ T BlockSum(T value) {
  return BlockReduce<kThreads, AddOperation>(value, T(0));
}
template <int kThreads>
__device__ __forceinline__ float BlockMax(float value) {
  return BlockReduce<kThreads, MaxOperation>(value, -INFINITY);
}
template <int kThreads>
__device__ __forceinline__ Indexed BlockMax(Indexed value) {
  return BlockReduce<kThreads, MaxOperation>(value,
                                             Indexed{-INFINITY, 0x7fffffff});
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_DEVICE_CUH_
