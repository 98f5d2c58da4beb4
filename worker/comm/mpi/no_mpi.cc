// Stands in for mpi_world.cc in builds without MPI.
#include "worker/comm/mpi/mpi_world.h"

namespace caravan::worker {

absl::StatusOr<std::unique_ptr<World>> CreateMpiWorld(const MpiWorldOptions&) {
  return absl::UnimplementedError(
      "this build has no MPI: configure with CARAVAN_ENABLE_MPI=ON");
}

}  // namespace caravan::worker
