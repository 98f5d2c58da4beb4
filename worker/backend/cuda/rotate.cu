#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/rotate.h"
#include "worker/backend/cuda/rotate_pair.cuh"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 256;

// A block per row.
// Limits: 64 registers, 0 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads) RotateKernel(RotateArguments a) {
  LetNextKernelStart();
  WaitForPreviousKernel();
  const int64_t row = blockIdx.x;
  const Rotation& rotation = a.rotation;
  const int head_dim = rotation.cache.head_dim;
  const int half = head_dim / 2;
  const int num_heads = rotation.num_heads;
  float* const queries = a.queries + row * num_heads * head_dim;
  const float* const keys_values =
      a.keys_values + row * 2 * rotation.cache.num_kv_heads * head_dim;
  for (int i = threadIdx.x; i < rotation.NumAllHeads() * half; i += kThreads) {
    const int head = i / half;
    const int d = i % half;
    const float* const from = head < num_heads
                                  ? queries + head * head_dim
                                  : keys_values + (head - num_heads) * head_dim;
    RotateAndStorePair(rotation, row,
                       {head, d, make_float2(from[d], from[d + half])},
                       queries);
  }
}

}  // namespace

cudaError_t RotateAndStore(const RotateArguments& a, cudaStream_t stream) {
  constexpr int64_t kMaxRows = 0x7fffffff;  // of a grid
  const int head_dim = a.rotation.cache.head_dim;
  if (a.num_rows < 0 || a.num_rows > kMaxRows || head_dim < 2 ||
      head_dim % 2 != 0 || a.rotation.places == nullptr) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  return Launch(RotateKernel,
                {.grid = dim3(static_cast<unsigned>(a.num_rows)),
                 .block = dim3(kThreads),
                 .overlap_previous = true},
                stream, a);
}

}  // namespace caravan::worker::cuda
