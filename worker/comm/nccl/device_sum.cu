#include "worker/backend/cuda/device.cuh"
#include "worker/comm/nccl/device_sum.h"

namespace caravan::worker {
namespace {

constexpr int kThreads = 256;
// Blocks enough to fill any GPU of today; each then goes on to further values.
constexpr int64_t kMaxBlocks = 1024;

__device__ __forceinline__ const float* Addend(const DeviceSumArguments& a,
                                               int rank) {
  return rank == a.own_rank ? a.own : a.addends + rank * a.stride;
}

// Bound by memory: 16 bytes at a time where all addends lie so.
// Limits: 48 registers, 0 KiB of static shared memory.
template <typename Values>
__global__ void __launch_bounds__(kThreads)
    DeviceSumKernel(DeviceSumArguments a, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < count; i += step) {
    Values sum = reinterpret_cast<const Values*>(Addend(a, 0))[i];
    for (int rank = 1; rank < a.num_addends; ++rank) {
      const Values addend = reinterpret_cast<const Values*>(Addend(a, rank))[i];
      if constexpr (sizeof(Values) == sizeof(float4)) {
        sum.x += addend.x;
        sum.y += addend.y;
        sum.z += addend.z;
        sum.w += addend.w;
      } else {
        sum += addend;
      }
    }
    reinterpret_cast<Values*>(a.out)[i] = sum;
  }
}

bool IsAligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % sizeof(float4) == 0;
}

template <typename Values>
cudaError_t Sum(const DeviceSumArguments& a, cudaStream_t stream) {
  const int64_t count =
      a.count / static_cast<int64_t>(sizeof(Values) / sizeof(float));
  const int64_t needed = (count + kThreads - 1) / kThreads;
  const int64_t blocks = needed < kMaxBlocks ? needed : kMaxBlocks;
  return cuda::Launch(DeviceSumKernel<Values>,
                      {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)},
                      stream, a, count);
}

}  // namespace

cudaError_t SumInRankOrderOnDevice(const DeviceSumArguments& a,
                                   cudaStream_t stream) {
  if (a.num_addends < 1 || a.count < 0) return cudaErrorInvalidValue;
  if (a.count == 0) return cudaSuccess;
  const bool wide = a.count % 4 == 0 && a.stride % 4 == 0 &&
                    IsAligned(a.addends) && IsAligned(a.own) &&
                    IsAligned(a.out);
  return wide ? Sum<float4>(a, stream) : Sum<float>(a, stream);
}

}  // namespace caravan::worker
