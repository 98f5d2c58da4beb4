// The products of a CudaBackend, from its kernels.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_LINEAR_OPERATIONS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_LINEAR_OPERATIONS_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/choose_tokens.h"
#include "worker/backend/cuda/cuda_weight.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/library_product.h"
#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/staging.h"

namespace caravan::worker::cuda {

// Rows that are prepared and multiplied at a time: what bounds the memory for
// them.
constexpr int64_t kRowsAtOnce = 512;

// For the gate of gated products by the library, as many outputs at a time as
// fit. partition/plan/gpu_memory.cc plans it.
constexpr int64_t kGateBytes = int64_t{32} << 20;

// Which rows a product reads, and what becomes of them first.
struct ProductRows {
  // x.rows are made, at most kRowsAtOnce: of rows of x.data in order, or of
  // those that `indices`, on the device, says.
  Tensor x;
  const Norm* norm = nullptr;  // null: x as it is
  const int64_t* indices = nullptr;
};

const CudaWeight& AsCudaWeight(const Weight& weight);
// A float32 tensor of that shape: the caller's contract.
void CheckFloats(const Tensor& tensor, int64_t rows, int64_t cols);

// Input tokens, some of which may lie in slots on the device: embed.h.
struct EmbedTokens {
  absl::Span<const int32_t> ids;
  const DeviceToken* slots = nullptr;
};

// Enqueues on the context's stream. One thread.
class LinearOperations final {
 public:
  // From `least_library_rows` rows on products with weights of 16 bits, which
  // are row-major then, are the library's; 0: none are.
  LinearOperations(DeviceContext& context, int64_t least_library_rows)
      : context_(context),
        least_library_rows_(least_library_rows),
        ids_(context),
        rows_(context) {}

  // Room for products with this weight.
  absl::Status Reserve(const CudaWeight& weight);
  // Room for the tables of a step.
  absl::Status Reserve(const StepLimits& limits);

  // Bring the tables of EmbedRows and of Head to the device: the same addresses
  // always.
  absl::StatusOr<const int32_t*> BringIds(absl::Span<const int32_t> ids) {
    return ids_.UploadArray(ids);
  }
  absl::StatusOr<const int64_t*> BringRows(absl::Span<const int64_t> rows) {
    return rows_.UploadArray(rows);
  }

  absl::Status EmbedRows(const CudaWeight& table, int64_t first_id,
                         const EmbedTokens& tokens, const Tensor& out);
  absl::Status Linear(const Tensor& x, const CudaWeight& weight,
                      const Tensor* residual, const Tensor& out);
  absl::Status GatedMlp(const Tensor& x, const Norm& norm,
                        const CudaWeight& gate_up, const Tensor& out);
  absl::Status Head(const Tensor& x, absl::Span<const int64_t> rows,
                    const Norm& norm, const CudaWeight& head,
                    const Tensor& logits);

  // The product of the rows with the weight; `product` says where it goes.
  absl::Status Multiply(const ProductRows& rows, const CudaWeight& weight,
                        ProductArguments product, bool gated = false);
  // Whether RotatedProduct may do so for as many rows, or else Multiply and
  // then RotateAndStore have to.
  bool CanRotate(const CudaWeight& weight, int64_t num_rows,
                 int64_t head_dim) const;
  absl::Status MultiplyRotated(const ProductRows& rows,
                               const CudaWeight& weight,
                               ProductArguments product);

 private:
  bool UsesLibrary(const ProductArguments& product) const;
  // False: the library has no way, the product is yet to be made.
  absl::StatusOr<bool> MultiplyByLibrary(const ProductRows& rows,
                                         const ProductArguments& product);
  absl::StatusOr<bool> MultiplyGatedByLibrary(const ProductRows& rows,
                                              const ProductArguments& product);
  // The rows, normalized, as the weight's format wants them, or rounded for the
  // library: valid until the next call.
  absl::StatusOr<ProductInput> Prepare(const ProductRows& rows,
                                       HeldFormat format);
  absl::StatusOr<const uint16_t*> PrepareRounded(const ProductRows& rows,
                                                 HeldFormat format);
  absl::Status Enqueue(const ProductRows& rows, const ProductInput& to);

  DeviceContext& context_;
  const int64_t least_library_rows_;
  std::unique_ptr<LibraryProduct> library_;  // once a weight wants it
  DeviceMemory gates_;                       // likewise
  DeviceMemory prepared_;
  DeviceTable ids_;
  DeviceTable rows_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_LINEAR_OPERATIONS_H_
