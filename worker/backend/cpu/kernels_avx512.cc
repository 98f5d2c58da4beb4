// Compiled with the options of this instruction set: CMakeLists.txt.
#include "worker/backend/cpu/kernel_table.h"

namespace caravan::worker::cpu {

const Kernels& Avx512Kernels() { return kKernels; }

}  // namespace caravan::worker::cpu
