#include "worker/backend/cuda/choose_tokens.h"
#include "worker/backend/cuda/device.cuh"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 64;

// What is not a number counts as minus infinity but keeps its value.
__device__ float NumberOf(const DeviceCandidate& candidate) {
  return candidate.value == candidate.value ? candidate.value : -INFINITY;
}

// Ids rise from piece to piece: of equals the first stays.
__device__ DeviceCandidate First(const DeviceCandidate* pieces,
                                 int num_pieces) {
  DeviceCandidate first = pieces[0];
  for (int piece = 1; piece < num_pieces; ++piece) {
    const DeviceCandidate other = pieces[piece];
    if (NumberOf(other) > NumberOf(first)) first = other;
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
  int32_t id = largest.id;
  if (a.requests[request].noise != 0) {
    id = First(a.winners + at, a.num_pieces).id;
  }
  a.tokens[request] = {id, largest.value};
}

}  // namespace

cudaError_t ChooseTokens(const ChooseArguments& a, cudaStream_t stream) {
  if (a.num_requests < 0 || a.num_pieces < 1) return cudaErrorInvalidValue;
  if (a.num_requests == 0) return cudaSuccess;
  const unsigned blocks = (a.num_requests + kThreads - 1) / kThreads;
  return Launch(ChooseTokensKernel, {dim3(blocks), dim3(kThreads)}, stream, a);
}

}  // namespace caravan::worker::cuda
