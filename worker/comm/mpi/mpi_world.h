// Ranks as processes that mpirun started.
#ifndef CARAVAN_WORKER_COMM_MPI_MPI_WORLD_H_
#define CARAVAN_WORKER_COMM_MPI_MPI_WORLD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

struct MpiWorldOptions {
  // Of MPI's start, and of meeting the other members when a group is made.
  absl::Duration init_timeout = absl::Seconds(60);
  // Of the clean end in the destructor.
  absl::Duration finalize_timeout = absl::Seconds(5);
};

// Once per process. One thread of its own makes every call to MPI; groups hand
// it their transfers. While nothing is under way it sleeps.
//
// kUnimplemented when this build has no MPI; kDeadlineExceeded when MPI does
// not start in time (the process can then only end); kFailedPrecondition when
// called again. Some failures inside MPI_Init end the process: that is MPI's
// doing. CreateGroup meets the other members: kDeadlineExceeded names who did
// not come, kFailedPrecondition who was told of another group.
//
// The destructor delivers what was sent and finalizes MPI together with the
// other ranks. When that is not done within finalize_timeout, or a transfer was
// given up before, it logs why and leaves MPI's thread to itself: the process
// must then end by _exit, as ordinary exit would race with MPI. An engine that
// saw any error ends that way without coming here.
absl::StatusOr<std::unique_ptr<World>> CreateMpiWorld(
    const MpiWorldOptions& options);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_MPI_MPI_WORLD_H_
