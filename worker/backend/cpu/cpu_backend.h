// The processor cores of this machine as a device. It is the reference for
// every other backend.
#ifndef CARAVAN_WORKER_BACKEND_CPU_CPU_BACKEND_H_
#define CARAVAN_WORKER_BACKEND_CPU_CPU_BACKEND_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/instruction_set.h"

namespace caravan::worker {

struct CpuBackendOptions {
  // With the thread that calls the backend's operations.
  int num_threads = 1;
  // Logical processors to bind the threads to, one after another: thread 0 is
  // the caller, which is bound by its first operation, and so are threads that
  // it starts later. Empty: not bound, which is right where engines are more
  // than cores. CoresForThreads (topology.h) makes such a list.
  std::vector<int> processors;
  // Default: the widest that this machine can run.
  std::optional<InstructionSet> instruction_set;
};

// Operations run at once, in the calling thread and the backend's own ones;
// arithmetic is float32, with quantized weights as kernels.h says. It keeps
// what backend.h promises about numerics. AVX2 and AVX-512 give the same bits,
// and with quantized weights so does every instruction set.
//
// kInvalidArgument: no such number of threads; kFailedPrecondition: an
// instruction set that this machine lacks; kResourceExhausted: no threads left.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(
    const CpuBackendOptions& options);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_CPU_BACKEND_H_
