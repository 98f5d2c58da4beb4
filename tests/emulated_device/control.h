// What a test can tell the emulated device, and ask.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_CONTROL_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_CONTROL_H_

#include <driver_types.h>

#include <cstdint>
#include <string>

#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/runtime/work.h"
#include "tests/emulated_device/settings.h"

namespace caravan::emulated {

// From now on, for all devices. The seed is that of kRandom.
void SetStreamPolicy(StreamPolicy policy, uint64_t seed);

// The kernel after `kernels` others, counted over all devices, fails with
// `error` in place of running.
void InjectKernelFault(int kernels, cudaError_t error);

// How many kernels have run in this process.
int64_t KernelsRun();

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_CONTROL_H_
