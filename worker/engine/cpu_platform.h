// Cores, and MPI or, beside GPUs, TCP where there are several ranks.
#ifndef CARAVAN_WORKER_ENGINE_CPU_PLATFORM_H_
#define CARAVAN_WORKER_ENGINE_CPU_PLATFORM_H_

#include <memory>

#include "worker/engine/platform.h"

namespace caravan::worker {

// kFailedPrecondition of JoinWorld: several ranks with neither mpirun nor an
// endpoint, or an MPI world that is not the plan's.
std::unique_ptr<Platform> CreateCpuPlatform();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_CPU_PLATFORM_H_
