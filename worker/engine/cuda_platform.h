// A GPU, and NCCL where there are several ranks.
#ifndef CARAVAN_WORKER_ENGINE_CUDA_PLATFORM_H_
#define CARAVAN_WORKER_ENGINE_CUDA_PLATFORM_H_

#include <memory>

#include "worker/engine/platform.h"

namespace caravan::worker {

// Uses the first GPU that the process sees: its agent shows it but one.
// kFailedPrecondition: no driver or no GPU.
std::unique_ptr<Platform> CreateCudaPlatform();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_CUDA_PLATFORM_H_
