// The vector instruction sets that kernels are compiled for.
#ifndef CARAVAN_WORKER_BACKEND_CPU_INSTRUCTION_SET_H_
#define CARAVAN_WORKER_BACKEND_CPU_INSTRUCTION_SET_H_

#include "absl/strings/string_view.h"

namespace caravan::worker {

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

absl::string_view Name(InstructionSet set);  // "portable", "avx2", "avx512"

// Whether kernels for it were built and this machine and its operating system
// can run them.
bool CanRun(InstructionSet set);

// The widest that can run.
InstructionSet BestInstructionSet();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_INSTRUCTION_SET_H_
