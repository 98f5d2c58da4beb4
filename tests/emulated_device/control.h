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

// What `device` copies to `peer` with cudaMemcpyPeer does not arrive, as behind
// an IOMMU that is in the way; until mended.
void BreakPeerCopies(int device, int peer);
void MendPeerCopies();

// From now on no graph can be instantiated on `device`; cudaSuccess: again.
void InjectGraphError(int device, cudaError_t error);

// What the host has enqueued on a device, call by call: not what a capture
// records, nor what is in a graph.
struct EnqueueCalls {
  int64_t operations = 0;  // kernels, copies, groups of NCCL's calls
  int64_t events = 0;
  int64_t graphs = 0;
};
EnqueueCalls EnqueueCallsMade(int device);

// How many kernels have run in this process.
int64_t KernelsRun();

// Calls in this process that took or gave back memory of a device or pinned
// memory of the host, those for no bytes and those that failed too.
struct MemoryCalls {
  int64_t allocations = 0;
  int64_t releases = 0;
  friend bool operator==(const MemoryCalls&, const MemoryCalls&) = default;
};
MemoryCalls MemoryCallsMade();

// Of a device's memory, as it was asked for.
int64_t AllocatedBytes(int device);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_CONTROL_H_
