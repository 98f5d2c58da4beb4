// The main function that all engine binaries share.
#ifndef CARAVAN_WORKER_ENGINE_ENGINE_MAIN_H_
#define CARAVAN_WORKER_ENGINE_ENGINE_MAIN_H_

#include "worker/engine/platform.h"

namespace caravan::worker {

// One rank's life on `platform`. Never returns: other ranks may be dead, and
// the farewells of MPI, NCCL and gRPC wait for peers. The exit code is 0 when
// the coordinator said stop, 1 after a failure, 2 when it was started by hand.
[[noreturn]] void EngineMain(int argc, char** argv, Platform& platform);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_ENGINE_MAIN_H_
