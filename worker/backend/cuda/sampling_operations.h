// The sampling of a CudaBackend, from its kernels.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_SAMPLING_OPERATIONS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_SAMPLING_OPERATIONS_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/staging.h"

namespace caravan::worker::cuda {

// Waits for the device: results are on the host. One thread.
class SamplingOperations final {
 public:
  explicit SamplingOperations(DeviceContext& context)
      : context_(context), requests_(context) {}

  absl::Status Candidates(const Tensor& logits, int64_t first_id,
                          absl::Span<const CandidateRequest> requests,
                          absl::Span<ShardCandidates> results);
  absl::Status Masses(const Tensor& logits,
                      absl::Span<const MassRequest> requests,
                      absl::Span<uint64_t> masses);

 private:
  // Room for so many bytes of results, on both sides.
  absl::Status Reserve(int64_t bytes);

  DeviceContext& context_;
  DeviceTable requests_;
  DeviceMemory results_;
  std::unique_ptr<StagingBuffer> host_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_SAMPLING_OPERATIONS_H_
