// The table of kernels of an instruction set.
#ifndef CARAVAN_WORKER_BACKEND_CPU_KERNEL_CHOICE_H_
#define CARAVAN_WORKER_BACKEND_CPU_KERNEL_CHOICE_H_

#include "worker/backend/cpu/instruction_set.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker::cpu {

// `set` must be one that can run.
const Kernels& KernelsOf(InstructionSet set);

}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_KERNEL_CHOICE_H_
