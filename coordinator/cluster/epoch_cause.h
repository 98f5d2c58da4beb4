// Why an epoch ended: of all the symptoms that a failure has, the one to name.
#ifndef CARAVAN_COORDINATOR_CLUSTER_EPOCH_CAUSE_H_
#define CARAVAN_COORDINATOR_CLUSTER_EPOCH_CAUSE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "caravan/v1/agent.pb.h"
#include "caravan/v1/engine.pb.h"

namespace caravan::coordinator {

// What a symptom proves, the weakest first. When one rank dies, the others
// report trouble with it, mpirun ends, streams break: in any order. Whoever
// proves most is named.
enum class Evidence {
  kAborted,         // an engine says that another one failed
  kLauncherExited,  // mpirun or a daemon ended
  kTerminated,      // an engine got SIGTERM: from mpirun, that ends the job
  kStreamLost,      // an engine's stream ended
  kPeerTrouble,     // an engine waited in vain for another one
  kEngineExited,    // an engine ended by itself, without a word
  kStalled,         // no progress
  kLaunchFailed,
  kEngineFailed,  // an engine says what is wrong with itself
  kNodeLost,      // the agent is gone
  kKilled,        // an engine, mpirun or a daemon died of a signal
};

struct EpochCause {
  Evidence evidence = Evidence::kAborted;
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  int rank = -1;  // -1: no rank in particular
  std::string node;
  uint64_t step = 0;  // 0: before the first
  std::string phase;
  std::string reason;
};

// Whether more symptoms need not be waited for.
bool IsConclusive(Evidence evidence);

// A rank whose death only mpirun has seen, as its parent, is named by mpirun's
// last words.
EpochCause CauseOf(const v1::ProcessExited& exited, absl::string_view node);
EpochCause CauseOf(const v1::EngineFailure& failure, int rank,
                   absl::string_view node);

// "replica 0 epoch 3 ended: rank 2 on node-b: killed by signal 9 (Killed) at
// step 812 in compute".
std::string DescribeEnd(uint64_t replica, uint64_t epoch,
                        const EpochCause& cause);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_EPOCH_CAUSE_H_
