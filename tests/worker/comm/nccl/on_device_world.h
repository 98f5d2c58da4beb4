// A world of GPUs as tests that know only the host see it.
#ifndef CARAVAN_TESTS_WORKER_COMM_NCCL_ON_DEVICE_WORLD_H_
#define CARAVAN_TESTS_WORKER_COMM_NCCL_ON_DEVICE_WORLD_H_

#include <memory>

#include "worker/backend/cuda/device_context.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

// Tensors lie in the host's memory: its groups copy them to the device, call
// the world's group, wait for the device and copy back, so that a call ends as
// one that blocks. `world` outlives it.
std::unique_ptr<World> MakeOnDeviceWorld(
    std::shared_ptr<cuda::DeviceContext> context, World& world);

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_COMM_NCCL_ON_DEVICE_WORLD_H_
