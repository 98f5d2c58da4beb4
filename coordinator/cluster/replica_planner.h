// Lays one model over the live nodes: placement, plan, and what engines are
// told.
#ifndef CARAVAN_COORDINATOR_CLUSTER_REPLICA_PLANNER_H_
#define CARAVAN_COORDINATOR_CLUSTER_REPLICA_PLANNER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "caravan/v1/plan.pb.h"
#include "coordinator/cluster/membership.h"
#include "coordinator/cluster/placement.h"
#include "partition/model/model_spec.h"
#include "partition/plan/plan.h"

namespace caravan::coordinator {

struct PlannerOptions {
  partition::ModelSpec spec;
  partition::PlanOptions plan;  // tp and pp among them
  v1::ModelLocation model;
  std::string device = "cpu";  // as StageDevices takes it
  int threads_per_rank = 0;    // 0: what the node has for each rank
  // Memory for keys and values on each node, shared by its CPU ranks. The cache
  // holds at least one sequence of the greatest length.
  int64_t kv_cache_bytes_per_node = int64_t{2} << 30;
};

// `nodes` sorted by name. As PlaceRanks and MakePlan.
absl::StatusOr<v1::EnginePlan> PlanReplica(const PlannerOptions& options,
                                           const std::vector<Node>& nodes);

// How long one row of a step may take on a slow machine: a bound for waits
// while nothing has been measured.
double SlowSecondsPerRow(const partition::ModelSpec& spec);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_REPLICA_PLANNER_H_
