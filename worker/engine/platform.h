// What an engine binary computes on and talks through.
#ifndef CARAVAN_WORKER_ENGINE_PLATFORM_H_
#define CARAVAN_WORKER_ENGINE_PLATFORM_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "caravan/v1/plan.pb.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

// One rank's place in a plan.
struct RankSetup {
  const v1::EnginePlan* plan = nullptr;
  int rank = 0;
  bool under_mpi = false;
};

// One per binary, for its whole life; one thread. The order of calls:
// OpenEndpoint before the plan is known, then CreateBackend, then JoinWorld.
class Platform {
 public:
  virtual ~Platform() = default;

  // Of the plan's ranks, as agents and users say it: "cpu".
  virtual absl::string_view device() const = 0;

  // Where the other ranks can dial this one from now on, at `address` of its
  // node; empty where ranks meet otherwise.
  virtual absl::StatusOr<std::string> OpenEndpoint(
      const std::string& address) = 0;

  virtual absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(
      const RankSetup& setup) = 0;

  // Blocks until the other ranks have come, or until the platform's own
  // deadline. `backend`, which must outlive the world, is CreateBackend's.
  virtual absl::StatusOr<std::unique_ptr<World>> JoinWorld(
      const RankSetup& setup, Backend& backend) = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_PLATFORM_H_
