#include "worker/engine/cpu_platform.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/cpu/topology.h"
#include "worker/comm/local/local_world.h"
#include "worker/comm/mpi/mpi_world.h"
#include "worker/engine/rank_door.h"

namespace caravan::worker {
namespace {

constexpr absl::Duration kJoinTimeout = absl::Seconds(60);

// Cores for this rank's threads, after those of the ranks before it on its
// node; empty (not pinned) where the node has fewer cores than threads.
absl::StatusOr<std::vector<int>> Processors(const v1::EnginePlan& plan,
                                            int rank) {
  const v1::RankPlan& mine = plan.ranks(rank);
  int first = 0;
  int total = 0;
  for (const v1::RankPlan& other : plan.ranks()) {
    if (other.node() != mine.node()) continue;
    if (other.rank() < rank) first += other.num_threads();
    total += other.num_threads();
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int> all, CoresForThreads(0, total));
  if (all.empty()) return all;
  return CoresForThreads(first, mine.num_threads());
}

class CpuPlatform final : public Platform {
 public:
  absl::string_view device() const override { return "cpu"; }

  // Without an address mpirun has told every rank.
  absl::StatusOr<std::string> OpenEndpoint(
      const std::string& address) override {
    return door_.Open(address);
  }

  absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(
      const RankSetup& setup) override {
    CARAVAN_ASSIGN_OR_RETURN(std::vector<int> processors,
                             Processors(*setup.plan, setup.rank));
    return CreateCpuBackend(
        {.num_threads = setup.plan->ranks(setup.rank).num_threads(),
         .processors = std::move(processors)});
  }

  absl::StatusOr<std::unique_ptr<World>> JoinWorld(const RankSetup& setup,
                                                   Backend&) override {
    const int size = setup.plan->ranks_size();
    if (size == 1) return std::move(CreateLocalWorlds(1)[0]);
    if (!setup.under_mpi) return JoinByTcp(setup);
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<World> world,
                             CreateMpiWorld({.init_timeout = kJoinTimeout}));
    if (world->size() != size || world->rank() != setup.rank) {
      return absl::FailedPreconditionError(absl::StrCat(
          "MPI's world is not the plan's: rank=", world->rank(), " of ",
          world->size(), ", planned ", setup.rank, " of ", size));
    }
    return world;
  }

 private:
  // In one plan with GPUs, for which there is no mpirun.
  absl::StatusOr<std::unique_ptr<World>> JoinByTcp(const RankSetup& setup) {
    return door_.Join(setup, kJoinTimeout);
  }

  RankDoor door_;
};

}  // namespace

std::unique_ptr<Platform> CreateCpuPlatform() {
  return std::make_unique<CpuPlatform>();
}

}  // namespace caravan::worker
