// What this machine has to offer to engines.
#ifndef CARAVAN_WORKER_AGENT_DEVICE_INVENTORY_H_
#define CARAVAN_WORKER_AGENT_DEVICE_INVENTORY_H_

#include <cstdint>
#include <string>

namespace caravan::worker {

struct CpuInventory {
  std::string name;  // "AMD EPYC 7B13"; "cpu" when unknown
  int num_cores = 1;
  int64_t memory_bytes = 0;
};

// By hwloc, within what this process may use; what hwloc does not know comes
// from the kernel's own counts.
CpuInventory FindCpu();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_DEVICE_INVENTORY_H_
