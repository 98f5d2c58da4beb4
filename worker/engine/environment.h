// What the agent told this engine, read once at start.
#ifndef CARAVAN_WORKER_ENGINE_ENVIRONMENT_H_
#define CARAVAN_WORKER_ENGINE_ENVIRONMENT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace caravan::worker {

struct EngineEnvironment {
  std::string coordinator;
  std::string token;
  std::string node;
  uint64_t replica = 0;
  uint64_t epoch = 0;
  int rank = 0;
  bool under_mpi = false;
  std::string device;           // "cpu" or "simulated"
  std::string data_address;     // empty: nobody dials this rank
  std::string progress_folder;  // empty: no page
  int64_t agent_pid = 0;        // 0: nobody to follow into death
};

// From the variables of base/engine_environment.h. kFailedPrecondition names
// what is missing: engines are started by agents, not by hand.
absl::StatusOr<EngineEnvironment> ReadEnvironment();

// Ends this process when process `pid` ends; a thread of its own. kNotFound: it
// is gone already.
absl::Status FollowIntoDeath(int64_t pid);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_ENVIRONMENT_H_
