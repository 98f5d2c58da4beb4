#include "worker/backend/cuda/choose_tokens.h"
#include "worker/backend/cuda/device.cuh"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 64;

// What is not a number counts as minus infinity but keeps its value.
__device__ bool IsLarger(float a, float b) {
  return (a == a ? a : -INFINITY) > (b == b ? b : -INFINITY);
}

// Ids rise from piece to piece: of equals the first stays.
__device__ DeviceCandidate First(const DeviceCandidate* pieces,
                                 int num_pieces) {
  DeviceCandidate first = pieces[0];
  for (int piece = 1; piece < num_pieces; ++piece) {
    const DeviceCandidate other = pieces[piece];
    if (IsLarger(other.value, first.value)) first = other;
  }
  return first;
}

// A thread for each request: pieces are few.
// Limits: 32 registers, 0 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads)
    ChooseTokensKernel(ChooseArguments a) {
  const int request = blockIdx.x * kThreads + threadIdx.x;
  if (request >= a.num_requests) return;
  const int64_t at = static_cast<int64_t>(request) * a.num_pieces;
  const DeviceCandidate largest = First(a.top + at, a.num_pieces);
  DeviceCandidate chosen = largest;
  if (a.requests[request].noise != 0) {
    chosen = First(a.winners + at, a.num_pieces);
  }
  DeviceToken* const to = a.parts != nullptr
                              ? a.parts + request
                              : a.slots + a.requests[request].slot;
  *to = {chosen.id, chosen.value, largest.value};
}

// A thread for each request, as above.
// Limits: 48 registers, 0 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads)
    MergeShardsKernel(MergeShardsArguments a) {
  const int request = blockIdx.x * kThreads + threadIdx.x;
  if (request >= a.num_requests) return;
  DeviceToken first = a.parts[request];
  for (int shard = 1; shard < a.num_shards; ++shard) {
    const DeviceToken other =
        a.parts[static_cast<int64_t>(shard) * a.num_requests + request];
    if (IsLarger(other.value, first.value)) {
      first.id = other.id;
      first.value = other.value;
    }
    if (IsLarger(other.largest, first.largest)) first.largest = other.largest;
  }
  a.slots[a.requests[request].slot] = first;
}

unsigned BlocksFor(int num_requests) {
  return (num_requests + kThreads - 1) / kThreads;
}

}  // namespace

cudaError_t ChooseTokens(const ChooseArguments& a, cudaStream_t stream) {
  if (a.num_requests < 0 || a.num_pieces < 1) return cudaErrorInvalidValue;
  if (a.num_requests == 0) return cudaSuccess;
  return Launch(ChooseTokensKernel,
                {dim3(BlocksFor(a.num_requests)), dim3(kThreads)}, stream, a);
}

cudaError_t MergeShards(const MergeShardsArguments& a, cudaStream_t stream) {
  if (a.num_requests < 0 || a.num_shards < 1) return cudaErrorInvalidValue;
  if (a.num_requests == 0) return cudaSuccess;
  return Launch(MergeShardsKernel,
                {dim3(BlocksFor(a.num_requests)), dim3(kThreads)}, stream, a);
}

}  // namespace caravan::worker::cuda
