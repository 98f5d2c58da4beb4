// Where the other ranks find this one, where ranks meet by themselves.
#ifndef CARAVAN_WORKER_ENGINE_RANK_DOOR_H_
#define CARAVAN_WORKER_ENGINE_RANK_DOOR_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/tcp/tcp_listener.h"
#include "worker/comm/tcp/tcp_world.h"
#include "worker/engine/platform.h"

namespace caravan::worker {

// Open, then Join, each once. One thread.
class RankDoor final {
 public:
  // The endpoint to tell; empty where `address` is: nobody is to dial.
  absl::StatusOr<std::string> Open(const std::string& address);

  // Meets the ranks of the plan at their endpoints. kFailedPrecondition: it was
  // never opened; else as JoinTcpWorld.
  absl::StatusOr<std::unique_ptr<TcpWorld>> Join(const RankSetup& setup,
                                                 absl::Duration timeout);

 private:
  std::optional<TcpListener> listener_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_RANK_DOOR_H_
