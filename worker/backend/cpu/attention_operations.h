// The CPU backend's operations around the KV cache. Arguments are those of
// backend.h, whose contract on shapes is checked.
#ifndef CARAVAN_WORKER_BACKEND_CPU_ATTENTION_OPERATIONS_H_
#define CARAVAN_WORKER_BACKEND_CPU_ATTENTION_OPERATIONS_H_

#include "base/tensor.h"
#include "worker/backend/backend.h"
#include "worker/backend/batch.h"
#include "worker/backend/cpu/matrix_product.h"

namespace caravan::worker {

struct AttentionInputOperands {
  Tensor x;
  const Norm* norm = nullptr;
  const PanelWeight* qkv = nullptr;
  Tensor queries;
};
void ApplyAttentionInput(const ProductContext& context,
                         const AttentionInputOperands& operands,
                         const AttentionLayer& layer, const Batch& batch);

struct AttentionOperands {
  Tensor queries;
  Tensor out;
};
void ApplyAttention(const ProductContext& context,
                    const AttentionOperands& operands,
                    const AttentionLayer& layer, const Batch& batch);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_ATTENTION_OPERATIONS_H_
