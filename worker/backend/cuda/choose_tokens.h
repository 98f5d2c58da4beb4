// From what pieces of rows contribute to the tokens that are taken.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_CHOOSE_TOKENS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_CHOOSE_TOKENS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/shard_candidates.h"

namespace caravan::worker::cuda {

// A caravan::worker::ChosenToken.
struct DeviceToken {
  int32_t id;
  float largest;
};

// What FindCandidates has found for requests of one candidate each.
struct ChooseArguments {
  const DeviceCandidateRequest* requests = nullptr;
  int num_requests = 0;
  int num_pieces = 0;
  const DeviceCandidate* top = nullptr;      // (requests, pieces)
  const DeviceCandidate* winners = nullptr;  // likewise, of those with noise
  DeviceToken* tokens = nullptr;             // one for each request
};

// Enqueues: of each request's pieces the first winner, or without noise the
// first largest logit, in the order of candidate_order.h.
[[nodiscard]] cudaError_t ChooseTokens(const ChooseArguments& arguments,
                                       cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_CHOOSE_TOKENS_H_
