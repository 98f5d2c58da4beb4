// Ranks as threads of one process.
#ifndef CARAVAN_WORKER_COMM_LOCAL_LOCAL_WORLD_H_
#define CARAVAN_WORKER_COMM_LOCAL_LOCAL_WORLD_H_

#include <memory>
#include <vector>

#include "worker/comm/communicator.h"

namespace caravan::worker {

// The worlds of ranks 0 to size - 1, which share their state; each goes to its
// rank's thread. CreateGroup never blocks, so one thread may make the groups of
// all ranks; members that do not agree on a group's name, ranks and wire type
// never meet, and their first call times out. Worlds and groups may end in any
// order; who ends is missed by its peers as if its process hung. At least one
// rank.
std::vector<std::unique_ptr<World>> CreateLocalWorlds(int size);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_LOCAL_LOCAL_WORLD_H_
