// Products of rows with a quantized weight.
#ifndef CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_PRODUCT_H_
#define CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_PRODUCT_H_

#include "worker/backend/cpu/matrix_product.h"

namespace caravan::worker {

// As Multiply, which calls it. Quantizes x into scratch.packed() first.
void MultiplyQuantized(const ProductContext& context,
                       const ProductOperands& operands);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_PRODUCT_H_
