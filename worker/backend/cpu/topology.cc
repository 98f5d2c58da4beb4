#include "worker/backend/cpu/topology.h"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace caravan::worker {
namespace {

struct TopologyDeleter {
  void operator()(hwloc_topology_t topology) const {
    hwloc_topology_destroy(topology);
  }
};
using Topology =
    std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, TopologyDeleter>;

struct BitmapDeleter {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap =
    std::unique_ptr<std::remove_pointer_t<hwloc_bitmap_t>, BitmapDeleter>;

absl::StatusOr<Topology> LoadTopology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) {
    return absl::InternalError("hwloc cannot make a topology");
  }
  Topology topology(raw);
  if (hwloc_topology_load(raw) != 0) {
    return absl::InternalError(absl::StrCat(
        "hwloc cannot read the machine's topology: ", std::strerror(errno)));
  }
  return topology;
}

}  // namespace

absl::StatusOr<std::vector<int>> UsableCores() {
  absl::StatusOr<Topology> topology = LoadTopology();
  if (!topology.ok()) return topology.status();
  // What the process may use is narrower than what is there: taskset, cgroups.
  Bitmap usable(hwloc_bitmap_alloc());
  if (hwloc_get_cpubind(topology->get(), usable.get(), HWLOC_CPUBIND_PROCESS) !=
      0) {
    hwloc_bitmap_copy(usable.get(),
                      hwloc_topology_get_allowed_cpuset(topology->get()));
  }
  std::vector<int> cores;
  Bitmap both(hwloc_bitmap_alloc());
  hwloc_obj_t core = nullptr;
  while ((core = hwloc_get_next_obj_by_type(topology->get(), HWLOC_OBJ_CORE,
                                            core)) != nullptr) {
    hwloc_bitmap_and(both.get(), core->cpuset, usable.get());
    const int processor = hwloc_bitmap_first(both.get());
    if (processor >= 0) cores.push_back(processor);
  }
  if (cores.empty()) {
    return absl::InternalError("hwloc finds no core that this process may use");
  }
  return cores;
}

absl::StatusOr<std::vector<int>> CoresForThreads(int first_core,
                                                 int num_threads) {
  if (first_core < 0 || num_threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("no such cores: first_core=", first_core,
                     " num_threads=", num_threads));
  }
  absl::StatusOr<std::vector<int>> cores = UsableCores();
  if (!cores.ok()) return cores.status();
  const int64_t end = int64_t{first_core} + num_threads;
  if (end > static_cast<int64_t>(cores->size())) return std::vector<int>();
  return std::vector<int>(cores->begin() + first_core, cores->begin() + end);
}

absl::Status PinThisThread(int processor) {
  if (processor < 0 || processor >= CPU_SETSIZE) {
    return absl::InvalidArgumentError(
        absl::StrCat("no such processor: ", processor));
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  const int error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
  if (error != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot bind a thread to a processor: processor=", processor, " ",
        std::strerror(error)));
  }
  return absl::OkStatus();
}

std::string ProcessorName() {
  absl::StatusOr<Topology> topology = LoadTopology();
  if (!topology.ok()) return "cpu";
  hwloc_obj_t package =
      hwloc_get_obj_by_type(topology->get(), HWLOC_OBJ_PACKAGE, 0);
  const char* name = package == nullptr
                         ? nullptr
                         : hwloc_obj_get_info_by_name(package, "CPUModel");
  return name == nullptr ? "cpu" : name;
}

}  // namespace caravan::worker
