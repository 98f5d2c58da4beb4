// From what pieces and shards of rows contribute to the tokens that are taken.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_CHOOSE_TOKENS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_CHOOSE_TOKENS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/shard_candidates.h"

namespace caravan::worker::cuda {

// A caravan::worker::ChosenToken.
struct DeviceToken {
  int32_t id;
  float value;
  float largest;
};

// What FindCandidates has found for requests of one candidate each.
struct ChooseArguments {
  const DeviceCandidateRequest* requests = nullptr;
  int num_requests = 0;
  int num_pieces = 0;
  const DeviceCandidate* top = nullptr;      // (requests, pieces)
  const DeviceCandidate* winners = nullptr;  // likewise, of those with noise
  DeviceToken* parts = nullptr;              // one for each request, or null:
  DeviceToken* slots = nullptr;              // requests' own ones
};

// Enqueues: of each request's pieces the first winner, or without noise the
// first largest logit, in the order of candidate_order.h.
[[nodiscard]] cudaError_t ChooseTokens(const ChooseArguments& arguments,
                                       cudaStream_t stream);

// What shards of the vocabulary, in order of ids, have chosen each.
struct MergeShardsArguments {
  const DeviceToken* parts = nullptr;  // (shards, requests)
  int num_shards = 0;
  const DeviceCandidateRequest* requests = nullptr;
  int num_requests = 0;
  DeviceToken* slots = nullptr;
};

// Enqueues: what they choose together, in the same order.
[[nodiscard]] cudaError_t MergeShards(const MergeShardsArguments& arguments,
                                      cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_CHOOSE_TOKENS_H_
