// The launch of a kernel, for device.cuh's twin.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_LAUNCH_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_LAUNCH_H_

#include <driver_types.h>

#include <functional>

#include "tests/emulated_device/engine/grid_run.h"

namespace caravan::emulated {

// Checks the shape against the device's limits and appends to the stream a grid
// whose threads call `body`. `kernel` names the function for its attributes.
cudaError_t EnqueueKernel(const void* kernel, const GridLaunch& launch,
                          cudaStream_t stream, std::function<void()> body);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_LAUNCH_H_
