// The products of a CudaBackend, from its kernels.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_LINEAR_OPERATIONS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_LINEAR_OPERATIONS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/cuda_weight.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/staging.h"

namespace caravan::worker::cuda {

// Rows that are prepared and multiplied at a time: what bounds the memory for
// them.
constexpr int64_t kRowsAtOnce = 512;

const CudaWeight& AsCudaWeight(const Weight& weight);
// A float32 tensor of that shape: the caller's contract.
void CheckFloats(const Tensor& tensor, int64_t rows, int64_t cols);

// Enqueues on the context's stream. One thread.
class LinearOperations final {
 public:
  explicit LinearOperations(DeviceContext& context)
      : context_(context), ids_(context), rows_(context) {}

  // Room to prepare rows for this weight.
  absl::Status Reserve(const CudaWeight& weight);
  // Room for the tables of a step.
  absl::Status Reserve(const StepLimits& limits);

  absl::Status EmbedRows(const CudaWeight& table, int64_t first_id,
                         absl::Span<const int32_t> ids, const Tensor& out);
  absl::Status Linear(const Tensor& x, const CudaWeight& weight,
                      const Tensor* residual, const Tensor& out);
  absl::Status GatedMlp(const Tensor& x, const Norm& norm,
                        const CudaWeight& gate_up, const Tensor& out);
  absl::Status Head(const Tensor& x, absl::Span<const int64_t> rows,
                    const Norm& norm, const CudaWeight& head,
                    const Tensor& logits);

  // Rows of x, normalized, as the weight wants them: valid until the next call.
  // x.rows are made, at most kRowsAtOnce: `indices`, on the device, say from
  // which rows of x.data; null: from its rows in order.
  absl::StatusOr<ProductInput> Prepare(const Tensor& x, const Norm* norm,
                                       const int64_t* indices,
                                       const CudaWeight& weight);

 private:
  DeviceContext& context_;
  DeviceMemory prepared_;
  DeviceTable ids_;
  DeviceTable rows_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_LINEAR_OPERATIONS_H_
