// For processors without a vector extension that we know: whatever the
// compiler makes of vectors of four.
#include "worker/backend/cpu/kernel_table.h"

namespace caravan::worker::cpu {

const Kernels& PortableKernels() { return kKernels; }

}  // namespace caravan::worker::cpu
