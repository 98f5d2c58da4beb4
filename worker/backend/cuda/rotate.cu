#include "worker/backend/cuda/cached_number.cuh"
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/rotate.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float2 Turn(float first, float second, float cos, float sin) {
  return make_float2(first * cos - second * sin, second * cos + first * sin);
}

// Element d of a key at a place within a block.
template <typename T>
__device__ int KeyOffset(int d, int place) {
  constexpr int kUnit = kKvUnitBytes / sizeof(T);
  return (d / kUnit * kBlockPositions + place) * kUnit + d % kUnit;
}

// A block per row.
// Limits: 64 registers, 0 KiB of static shared memory.
template <typename T>
__global__ void __launch_bounds__(kThreads) RotateKernel(RotateArguments a) {
  const int64_t row = blockIdx.x;
  const RowPlace place = a.places[row];
  if (place.block == kNoBlock) return;
  const int in_block = place.position % kBlockPositions;
  const int head_dim = a.cache.head_dim;
  const int half = head_dim / 2;
  const float* cos = a.cos + static_cast<int64_t>(place.position) * half;
  const float* sin = a.sin + static_cast<int64_t>(place.position) * half;
  float* queries = a.queries + row * a.num_heads * head_dim;
  for (int i = threadIdx.x; i < a.num_heads * half; i += kThreads) {
    const int d = i % half;
    float* head = queries + i / half * head_dim;
    const float2 turned = Turn(head[d], head[d + half], cos[d], sin[d]);
    head[d] = turned.x;
    head[d + half] = turned.y;
  }
  const int width = a.cache.num_kv_heads * head_dim;
  const float* keys = a.keys_values + row * 2 * width;
  for (int i = threadIdx.x; i < a.cache.num_kv_heads * half; i += kThreads) {
    const int d = i % half;
    const int kv_head = i / half;
    const float* head = keys + kv_head * head_dim;
    T* to = a.cache.Keys<T>(place.block, kv_head);
    const float2 turned = Turn(head[d], head[d + half], cos[d], sin[d]);
    to[KeyOffset<T>(d, in_block)] = ToCached<T>(turned.x);
    to[KeyOffset<T>(d + half, in_block)] = ToCached<T>(turned.y);
  }
  const float* values = keys + width;
  for (int i = threadIdx.x; i < width; i += kThreads) {
    T* to = a.cache.Keys<T>(place.block, i / head_dim) +
            a.cache.values_offset() + in_block * a.cache.padded();
    to[i % head_dim] = ToCached<T>(values[i]);
  }
}

}  // namespace

cudaError_t RotateAndStore(const RotateArguments& a, cudaStream_t stream) {
  constexpr int64_t kMaxRows = 0x7fffffff;  // of a grid
  if (a.num_rows < 0 || a.num_rows > kMaxRows || a.cache.head_dim < 2 ||
      a.cache.head_dim % 2 != 0) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  const LaunchShape shape = {dim3(static_cast<unsigned>(a.num_rows)),
                             dim3(kThreads)};
  switch (a.cache.format) {
    case KvFormat::kFloat32:
      return Launch(RotateKernel<float>, shape, stream, a);
    case KvFormat::kHalf:
      return Launch(RotateKernel<__half>, shape, stream, a);
    case KvFormat::kBFloat16:
      return Launch(RotateKernel<__nv_bfloat16>, shape, stream, a);
  }
  return cudaErrorInvalidValue;
}

}  // namespace caravan::worker::cuda
