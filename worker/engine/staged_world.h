// Groups of ranks on devices of different kinds.
#ifndef CARAVAN_WORKER_ENGINE_STAGED_WORLD_H_
#define CARAVAN_WORKER_ENGINE_STAGED_WORLD_H_

#include <memory>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

struct StagedWorldOptions {
  // Between devices of this rank's kind.
  std::unique_ptr<World> device_world;
  // The same ranks, for tensors in the host's memory; lives as long as
  // `device_world`.
  World* host_world = nullptr;
  std::vector<bool> same_kind;  // by world rank: as this rank's device
  // Copies between the device and the host; outlives the world.
  Backend* backend = nullptr;
};

// A group whose members all have devices of this rank's kind is the device
// world's. In any other, tensors to and from members of this kind go by a group
// of the device world that those make among themselves, as "NAME.direct". All
// others, and what all members do together, go through the host's memory: a
// call copies, which waits for the device, and the host's group carries them.
// That costs a pipeline link the time of two copies and of the device running
// dry for it; docs/decisions/0010-mixed-clusters.md.
std::unique_ptr<World> MakeStagedWorld(StagedWorldOptions options);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_STAGED_WORLD_H_
