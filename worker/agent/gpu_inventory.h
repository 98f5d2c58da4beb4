// The GPUs of this machine, as the GPU engine sees them.
#ifndef CARAVAN_WORKER_AGENT_GPU_INVENTORY_H_
#define CARAVAN_WORKER_AGENT_GPU_INVENTORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace caravan::worker {

struct Gpu {
  std::string uuid;
  std::string name;
  std::string pci_address;
  std::string compute_capability;
  int64_t memory_bytes = 0;
  std::vector<std::string> peers;  // uuids
  // Uuids of those that the driver says it reaches, but where data gets lost.
  std::vector<std::string> broken_peers;
};

struct GpuInventory {
  std::vector<Gpu> gpus;
  std::string driver;   // its version
  std::string problem;  // why there is none; empty when there is one
};

// What `caravan-engine-cuda --devices` prints: lines of whoever talks along,
// and one line with a JSON object. kInvalidArgument: no such line, or one that
// lacks something.
absl::StatusOr<GpuInventory> ParseGpuInventory(absl::string_view output);

// Asks `program`, since an agent never calls CUDA itself: a driver that hangs
// or aborts must not take the agent along. Blocks until it has answered or is
// killed after `timeout`; whatever goes wrong is the `problem`.
GpuInventory FindGpus(const std::string& program, absl::Duration timeout,
                      Clock& clock);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_GPU_INVENTORY_H_
