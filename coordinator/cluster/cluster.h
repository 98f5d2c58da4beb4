// The coordinator's side of the cluster: its members and one replica on them.
#ifndef CARAVAN_COORDINATOR_CLUSTER_CLUSTER_H_
#define CARAVAN_COORDINATOR_CLUSTER_CLUSTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "caravan/v1/plan.pb.h"
#include "caravan/v1/step.pb.h"
#include "coordinator/cluster/membership.h"
#include "coordinator/cluster/rank_states.h"
#include "coordinator/cluster/replica_supervisor.h"
#include "coordinator/schedule/engine_group.h"

namespace caravan::coordinator {

// Who runs sequences on the replica: the scheduler. Called by one thread, in
// this order: started, results, ended, started ... Returns at once.
class EpochListener {
 public:
  virtual ~EpochListener() = default;
  // `group` may be used until OnEpochEnded returns.
  virtual void OnEpochStarted(EngineGroup* group) = 0;
  // An error ends the epoch.
  virtual absl::Status OnStepResult(const v1::StepResult& result) = 0;
  virtual void OnEpochEnded(const absl::Status& cause) = 0;
};

struct ClusterOptions {
  std::string listen_address = "127.0.0.1:0";
  Credentials credentials;
  absl::Duration lease = absl::Seconds(3);
  SupervisorOptions supervisor;
  // Time that a row of a step may take while nothing is known of the engines.
  double first_seconds_per_row = 0.1;
  // Steps that take no longer are never taken for stalled.
  absl::Duration stall_timeout = absl::Seconds(3);
  EpochListener* listener = nullptr;  // outlives the cluster, as does
  Clock* clock = nullptr;
};

// What there is to see of the cluster.
struct ClusterView {
  ReplicaState state = ReplicaState::kWaitingForNodes;
  uint64_t replica = 0;
  uint64_t epoch = 0;
  v1::EnginePlan plan;  // empty before the first epoch
  std::vector<Node> nodes;
  std::vector<RankState> ranks;
  std::string last_cause;  // why the last epoch ended
};

// Owns the gRPC server and one thread on which membership and supervisor live.
// All methods are thread-safe. Nothing that a peer sends or does makes it fail;
// it serves until Shutdown.
class Cluster final {
 public:
  // kUnavailable: the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(ClusterOptions options);
  // Shutdown, if that was not called.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  int port() const;

  // Blocks until an epoch is running. kDeadlineExceeded; or why the replica can
  // never run.
  absl::Status WaitUntilReady(absl::Time deadline);

  // Blocks for the moment that a look takes.
  ClusterView View();

  // Ends the epoch with everything of it, ends all agents, stops listening.
  // Blocks for about `timeout` at most.
  void Shutdown(absl::Duration timeout);

 private:
  class Impl;
  explicit Cluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_CLUSTER_H_
