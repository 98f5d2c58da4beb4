#include "worker/backend/cuda/device.cuh"
#include "worker/comm/nccl/device_sum.h"

namespace caravan::worker {
namespace {

constexpr int kThreads = 256;
// Blocks enough to fill any GPU of today; each then goes on to further values.
constexpr int64_t kMaxBlocks = 1024;
// Values that a thread takes at once where all lie aligned to as many.
constexpr int kWide = 4;

template <typename T, int kWidth>
struct alignas(sizeof(T) * kWidth) Values {
  T value[kWidth];
};

template <int kWidth, typename T>
__device__ __forceinline__ Values<T, kWidth> Load(const T* from, int64_t i) {
  return reinterpret_cast<const Values<T, kWidth>*>(from)[i];
}

template <int kWidth, typename T>
__device__ __forceinline__ void Store(const Values<T, kWidth>& values, T* to,
                                      int64_t i) {
  reinterpret_cast<Values<T, kWidth>*>(to)[i] = values;
}

template <typename Addend, typename Sum>
__device__ __forceinline__ const Addend* AddendOf(
    const DeviceSumArguments<Addend, Sum>& a, int rank) {
  return rank == a.own_rank ? a.own : a.addends + rank * a.stride;
}

// Bound by memory. `count` pieces of kWidth values.
// Limits: 48 registers, 0 KiB of static shared memory.
template <int kWidth, typename Addend, typename Sum>
__global__ void __launch_bounds__(kThreads)
    DeviceSumKernel(DeviceSumArguments<Addend, Sum> a, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < count; i += step) {
    float sum[kWidth];
    const Values<Addend, kWidth> first = Load<kWidth>(AddendOf(a, 0), i);
    for (int k = 0; k < kWidth; ++k) sum[k] = cuda::ToFloat(first.value[k]);
    for (int rank = 1; rank < a.num_addends; ++rank) {
      const Values<Addend, kWidth> addend = Load<kWidth>(AddendOf(a, rank), i);
      for (int k = 0; k < kWidth; ++k) {
        sum[k] += cuda::ToFloat(addend.value[k]);
      }
    }
    Values<Sum, kWidth> out;
    for (int k = 0; k < kWidth; ++k) {
      const Addend rounded = cuda::FromFloat<Addend>(sum[k]);
      out.value[k] = cuda::FromFloat<Sum>(cuda::ToFloat(rounded));
    }
    Store<kWidth>(out, a.out, i);
  }
}

// Bound by memory. `count` pieces of kWidth values.
// Limits: 32 registers, 0 KiB of static shared memory.
template <int kWidth, typename From, typename To>
__global__ void __launch_bounds__(kThreads)
    ConvertKernel(const From* from, To* to, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < count; i += step) {
    const Values<From, kWidth> values = Load<kWidth>(from, i);
    Values<To, kWidth> converted;
    for (int k = 0; k < kWidth; ++k) {
      converted.value[k] = cuda::FromFloat<To>(cuda::ToFloat(values.value[k]));
    }
    Store<kWidth>(converted, to, i);
  }
}

template <typename T>
bool IsAligned(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % (kWide * sizeof(T)) == 0;
}

cuda::LaunchShape ShapeFor(int64_t count) {
  const int64_t needed = (count + kThreads - 1) / kThreads;
  const int64_t blocks = needed < kMaxBlocks ? needed : kMaxBlocks;
  return {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)};
}

template <typename Addend, typename Sum>
cudaError_t Enqueue(const DeviceSumArguments<Addend, Sum>& a,
                    cudaStream_t stream) {
  if (a.num_addends < 1 || a.count < 0) return cudaErrorInvalidValue;
  if (a.count == 0) return cudaSuccess;
  if (a.count % kWide == 0 && a.stride % kWide == 0 && IsAligned(a.addends) &&
      IsAligned(a.own) && IsAligned(a.out)) {
    return cuda::Launch(DeviceSumKernel<kWide, Addend, Sum>,
                        ShapeFor(a.count / kWide), stream, a, a.count / kWide);
  }
  return cuda::Launch(DeviceSumKernel<1, Addend, Sum>, ShapeFor(a.count),
                      stream, a, a.count);
}

template <typename From, typename To>
cudaError_t Convert(const From* from, To* to, int64_t count,
                    cudaStream_t stream) {
  if (count < 0) return cudaErrorInvalidValue;
  if (count == 0) return cudaSuccess;
  if (count % kWide == 0 && IsAligned(from) && IsAligned(to)) {
    return cuda::Launch(ConvertKernel<kWide, From, To>, ShapeFor(count / kWide),
                        stream, from, to, count / kWide);
  }
  return cuda::Launch(ConvertKernel<1, From, To>, ShapeFor(count), stream, from,
                      to, count);
}

}  // namespace

cudaError_t SumInRankOrderOnDevice(const DeviceSumArguments<float, float>& a,
                                   cudaStream_t stream) {
  return Enqueue(a, stream);
}
cudaError_t SumInRankOrderOnDevice(
    const DeviceSumArguments<__nv_bfloat16, float>& a, cudaStream_t stream) {
  return Enqueue(a, stream);
}
cudaError_t SumInRankOrderOnDevice(
    const DeviceSumArguments<__nv_bfloat16, __nv_bfloat16>& a,
    cudaStream_t stream) {
  return Enqueue(a, stream);
}

cudaError_t ConvertOnDevice(const float* from, __nv_bfloat16* to, int64_t count,
                            cudaStream_t stream) {
  return Convert(from, to, count, stream);
}
cudaError_t ConvertOnDevice(const __nv_bfloat16* from, float* to, int64_t count,
                            cudaStream_t stream) {
  return Convert(from, to, count, stream);
}

}  // namespace caravan::worker
