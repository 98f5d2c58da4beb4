#include "worker/agent/device_inventory.h"

#include <hwloc.h>
#include <unistd.h>

#include <algorithm>

namespace caravan::worker {
namespace {

CpuInventory FromKernel() {
  return {
      .name = "cpu",
      .num_cores = std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN))),
      .memory_bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE)};
}

}  // namespace

CpuInventory FindCpu() {
  CpuInventory cpu = FromKernel();
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return cpu;
  if (hwloc_topology_load(topology) == 0) {
    const int num_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    if (num_cores > 0) cpu.num_cores = num_cores;
    const hwloc_obj_t root = hwloc_get_root_obj(topology);
    if (root->total_memory > 0) {
      cpu.memory_bytes = static_cast<int64_t>(root->total_memory);
    }
    const hwloc_obj_t package =
        hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    const char* name = package == nullptr
                           ? nullptr
                           : hwloc_obj_get_info_by_name(package, "CPUModel");
    if (name != nullptr && name[0] != '\0') cpu.name = name;
  }
  hwloc_topology_destroy(topology);
  return cpu;
}

}  // namespace caravan::worker
