#include "bench/gpu/read_all.h"
#include "worker/backend/cuda/device.cuh"

namespace caravan::bench {
namespace {

constexpr int kThreads = 512;
constexpr int kBlocksPerMultiprocessor = 4;
constexpr int kLoadsAtOnce = 4;

__global__ void ReadAllKernel(const uint4* values, int64_t count,
                              unsigned* sink) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  unsigned seen = 0;
  for (; i + (kLoadsAtOnce - 1) * stride < count; i += kLoadsAtOnce * stride) {
    uint4 loaded[kLoadsAtOnce];
#pragma unroll
    for (int k = 0; k < kLoadsAtOnce; ++k) loaded[k] = values[i + k * stride];
#pragma unroll
    for (int k = 0; k < kLoadsAtOnce; ++k) {
      seen ^= loaded[k].x ^ loaded[k].y ^ loaded[k].z ^ loaded[k].w;
    }
  }
  for (; i < count; i += stride) {
    const uint4 loaded = values[i];
    seen ^= loaded.x ^ loaded.y ^ loaded.z ^ loaded.w;
  }
  // Never so for what is all zeros, but the compiler does not know.
  if (seen == 0x12345678u) *sink = seen;
}

}  // namespace

cudaError_t ReadAll(const ReadArguments& arguments, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(arguments.num_multiprocessors *
                                        kBlocksPerMultiprocessor));
  return worker::cuda::Launch(ReadAllKernel, {grid, dim3(kThreads)}, stream,
                              arguments.values, arguments.count,
                              arguments.sink);
}

}  // namespace caravan::bench
