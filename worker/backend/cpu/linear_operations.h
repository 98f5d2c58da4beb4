// The CPU backend's operations that are a product with a weight. Arguments are
// those of backend.h, whose contract on shapes is checked.
#ifndef CARAVAN_WORKER_BACKEND_CPU_LINEAR_OPERATIONS_H_
#define CARAVAN_WORKER_BACKEND_CPU_LINEAR_OPERATIONS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/matrix_product.h"

namespace caravan::worker {

// Calls work(row) for each row, on all threads if the rows' elements are worth
// it. Every row's work must be its own.
void ForEachRow(ThreadPool& pool, int64_t num_rows, int64_t row_elements,
                absl::FunctionRef<void(int64_t row)> work);

// Puts the normalized rows of x, at most kMostRows, into scratch.normed().
void NormalizeRows(const ProductContext& context, const Tensor& x,
                   const Norm& norm);

const PanelWeight& AsPanels(const Weight& weight);
void CheckFloats(const Tensor& tensor, int64_t rows, int64_t cols);

void EmbedRows(const ProductContext& context, const PanelWeight& table,
               int64_t first_id, absl::Span<const int32_t> ids,
               const Tensor& out);
void ApplyLinear(const ProductContext& context, const Tensor& x,
                 const PanelWeight& weight, const Tensor* residual,
                 const Tensor& out);
void ApplyGatedMlp(const ProductContext& context, const Tensor& x,
                   const Norm& norm, const PanelWeight& gate_up,
                   const Tensor& out);

struct HeadInput {
  Tensor x;
  absl::Span<const int64_t> rows;
  const Norm* norm = nullptr;
};
void ApplyHead(const ProductContext& context, const HeadInput& input,
               const PanelWeight& head, const Tensor& logits);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_LINEAR_OPERATIONS_H_
