// What a machine's cores can do at best: the measures that kernels are held
// against.
#ifndef CARAVAN_WORKER_BACKEND_CPU_MACHINE_PROBE_H_
#define CARAVAN_WORKER_BACKEND_CPU_MACHINE_PROBE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend/cpu/huge_memory.h"
#include "worker/backend/cpu/thread_pool.h"

namespace caravan::worker {

// Measures with the threads of a pool, by which it must be outlived. Each call
// takes some tens of milliseconds: on a shared or virtual machine the values
// change within seconds, so measure right before and after what is compared.
class MachineProbe final {
 public:
  // Takes 256 MiB, so that no cache holds it.
  static absl::StatusOr<std::unique_ptr<MachineProbe>> Create(ThreadPool& pool);

  // Bytes per second that all threads together read from memory.
  double ReadBandwidth();

  // float32 operations per second of all threads together, a multiplication and
  // an addition of a fused one counted as two.
  double FmaPeak();

 private:
  MachineProbe(ThreadPool& pool, HugeMemory memory);

  ThreadPool& pool_;
  HugeMemory memory_;
  // Where results go, so that no compiler leaves the work out.
  volatile float sink_ = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_MACHINE_PROBE_H_
