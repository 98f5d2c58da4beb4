// The sampling of a CudaBackend, from its kernels.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_SAMPLING_OPERATIONS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_SAMPLING_OPERATIONS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/choose_tokens.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/shard_candidates.h"
#include "worker/backend/cuda/staging.h"

namespace caravan::worker::cuda {

// Requests of a group with the places of their results.
struct CandidatePlaces {
  std::vector<DeviceCandidateRequest> requests;
  int64_t num_candidates = 0;
};

// Candidates and Masses wait for the device: results are on the host. Requests
// are worked off in groups, as many at a time as there is room for their
// results. One thread.
class SamplingOperations final {
 public:
  // Requests of a group.
  static constexpr int64_t kMostRequests = 256;
  // For the results of a group: more only where those of a single request for
  // the whole vocabulary need more.
  static constexpr int64_t kResultBytes = int64_t{1} << 20;

  explicit SamplingOperations(DeviceContext& context)
      : context_(context), requests_(context) {}

  // Room for logits of so many columns; 0: for none.
  absl::Status Reserve(int64_t vocabulary_size);

  absl::Status Candidates(const Tensor& logits, int64_t first_id,
                          absl::Span<const CandidateRequest> requests,
                          absl::Span<ShardCandidates> results);
  absl::Status Masses(const Tensor& logits,
                      absl::Span<const MassRequest> requests,
                      absl::Span<uint64_t> masses);

  // At most kMostRequests, with slots of their own from `first_slot` on.
  struct Choices {
    absl::Span<const CandidateRequest> requests;
    int64_t first_slot = 0;
  };
  // Brings such a table to the device, for logits of so many columns: the same
  // address always.
  absl::StatusOr<const DeviceCandidateRequest*> BringChoices(
      int64_t vocabulary_size, const Choices& choices);
  // Enqueues what finds the tokens of `logits`, a shard of the vocabulary that
  // begins at `first_id`; where they go is left to the caller.
  absl::StatusOr<ChooseArguments> FindChoices(const Tensor& logits,
                                              int64_t first_id,
                                              const Choices& choices);

 private:
  // How many of the first requests have room for their results together.
  // kResourceExhausted: not even the first.
  absl::StatusOr<size_t> SizeOfGroup(
      absl::Span<const CandidateRequest> requests, int64_t num_pieces) const;
  // kResourceExhausted: results take more than there is.
  absl::Status CheckRoom(int64_t bytes) const;
  // Enqueues what finds the candidates of a group, whose table is `uploaded`.
  absl::StatusOr<CandidateArguments> EnqueueSearch(
      const Tensor& logits, int64_t first_id,
      absl::Span<const DeviceCandidateRequest> uploaded);
  absl::Status CandidatesOfGroup(const Tensor& logits, int64_t first_id,
                                 absl::Span<const CandidateRequest> requests,
                                 absl::Span<ShardCandidates> results);
  absl::Status MassesOfGroup(const Tensor& logits,
                             absl::Span<const MassRequest> requests,
                             absl::Span<uint64_t> masses);

  DeviceContext& context_;
  DeviceTable requests_;
  DeviceMemory results_;
  std::unique_ptr<StagingBuffer> host_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_SAMPLING_OPERATIONS_H_
