#include "worker/backend/cpu/kernel_choice.h"

namespace caravan::worker::cpu {

const Kernels& KernelsOf(InstructionSet set) {
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx2:
      return Avx2Kernels();
    case InstructionSet::kAvx512:
      return Avx512Kernels();
#else
    case InstructionSet::kAvx2:
    case InstructionSet::kAvx512:
#endif
    case InstructionSet::kPortable:
      return PortableKernels();
  }
  return PortableKernels();
}

}  // namespace caravan::worker::cpu
