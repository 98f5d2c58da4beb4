// Which processors of this machine an engine's threads should run on.
#ifndef CARAVAN_WORKER_BACKEND_CPU_TOPOLOGY_H_
#define CARAVAN_WORKER_BACKEND_CPU_TOPOLOGY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace caravan::worker {

// One logical processor (the operating system's number) for each physical core
// that this process may use, in hwloc's order, which keeps neighbours of a
// cache and of a NUMA node together. kInternal: hwloc cannot read the machine.
absl::StatusOr<std::vector<int>> UsableCores();

// Processors for an engine's threads: cores [first_core, first_core +
// num_threads) of UsableCores(). Empty, which means "do not pin", where there
// are not that many: two engines pinned to one core would wait for each other
// while another core is idle.
absl::StatusOr<std::vector<int>> CoresForThreads(int first_core,
                                                 int num_threads);

// Binds the calling thread to a logical processor.
absl::Status PinThisThread(int processor);

// The model name that the processor reports, or "cpu".
std::string ProcessorName();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_TOPOLOGY_H_
