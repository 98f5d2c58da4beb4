// What pieces of rows of logits contribute to sampling: backend.h, sampling.h.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_SHARD_CANDIDATES_H_
#define CARAVAN_WORKER_BACKEND_CUDA_SHARD_CANDIDATES_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker::cuda {

// A row is looked at in pieces of this many logits, by a block each.
constexpr int kPieceLogits = 8192;

// A caravan::worker::Candidate.
struct DeviceCandidate {
  int32_t id;
  float value;
};

// A CandidateRequest, and where its results go.
struct DeviceCandidateRequest {
  int64_t row;
  uint64_t seed;
  int64_t position;
  float temperature;
  int32_t num_top;
  int32_t noise;
  int32_t slot;  // of the token that is chosen (choose_tokens.h), or anything
  // Of its first piece: piece p's candidates, as many as num_top and the piece
  // allow, begin p * min(num_top, kPieceLogits) further, in any order.
  int64_t first_candidate;
};

struct CandidateArguments {
  const float* logits = nullptr;  // (rows, cols)
  int64_t cols = 0;
  int64_t first_id = 0;
  const DeviceCandidateRequest* requests = nullptr;
  int num_requests = 0;
  DeviceCandidate* top = nullptr;
  DeviceCandidate* winners = nullptr;  // (requests, pieces)

  int num_pieces() const {
    return static_cast<int>((cols + kPieceLogits - 1) / kPieceLogits);
  }
};

// Enqueues. What is not a number counts as minus infinity but keeps its value;
// a winner is written for requests with noise only.
[[nodiscard]] cudaError_t FindCandidates(const CandidateArguments& arguments,
                                         cudaStream_t stream);

// A MassRequest.
struct DeviceMassRequest {
  int64_t row;
  float reference;  // finite
  float temperature;
  float least;
  float threshold;  // only logits above it can have a mass
};

struct MassArguments {
  const float* logits = nullptr;  // (rows, cols)
  int64_t cols = 0;
  const DeviceMassRequest* requests = nullptr;
  int num_requests = 0;
  unsigned long long* masses = nullptr;  // zeros before

  int num_pieces() const {
    return static_cast<int>((cols + kPieceLogits - 1) / kPieceLogits);
  }
};

// Enqueues: adds each request's mass to its place.
[[nodiscard]] cudaError_t SumMasses(const MassArguments& arguments,
                                    cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_SHARD_CANDIDATES_H_
