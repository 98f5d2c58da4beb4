// One engine's life: attach, load, run steps, end.
#ifndef CARAVAN_WORKER_ENGINE_ENGINE_H_
#define CARAVAN_WORKER_ENGINE_ENGINE_H_

#include "absl/status/status.h"
#include "worker/engine/environment.h"
#include "worker/engine/platform.h"

namespace caravan::worker {

// Blocks for the engine's life. OK: the coordinator said stop. An error has
// been reported to the coordinator as EngineFailure if the stream still lived.
absl::Status RunEngine(const EngineEnvironment& environment,
                       Platform& platform);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_ENGINE_H_
