// Puts rows of quantized blocks into the panel layout of kernels.h.
#ifndef CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_PACKING_H_
#define CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_PACKING_H_

#include <cstddef>
#include <cstdint>

#include "base/weight_format.h"

namespace caravan::worker {

// `rows`: (num_rows, cols) of `format`, at most a panel's outputs; what is
// missing to them becomes zeros. The panel has as many bytes as its rows.
void PackQuantizedPanel(WeightFormat format, const std::byte* rows,
                        int64_t num_rows, int64_t cols, std::byte* panel);

// The row of one output, decoded into out[0, cols).
void CopyQuantizedRow(WeightFormat format, const std::byte* panel,
                      int64_t output, int64_t cols, float* out);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_PACKING_H_
