// Puts rows of a matrix into the panel layout of kernels.h.
#ifndef CARAVAN_WORKER_BACKEND_CPU_PANEL_PACKING_H_
#define CARAVAN_WORKER_BACKEND_CPU_PANEL_PACKING_H_

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace caravan::worker {

// Where output `output` of a panel stands among the elements of one input.
int64_t PlaceInPanel(DType held_as, int64_t output);

// `rows`: (num_rows, cols) of `dtype`, at most a panel's outputs; what is
// missing to them becomes zeros. Narrowing rounds to nearest even.
void PackPanel(const std::byte* rows, DType dtype, int64_t num_rows,
               int64_t cols, DType hold_as, std::byte* panel);

// The row of one output, widened to float32, into out[0, cols).
void CopyPanelRow(DType held_as, const std::byte* panel, int64_t output,
                  int64_t cols, float* out);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_PANEL_PACKING_H_
