// What GET /status answers and `caravan status` prints.
#ifndef CARAVAN_COORDINATOR_CLUSTER_STATUS_JSON_H_
#define CARAVAN_COORDINATOR_CLUSTER_STATUS_JSON_H_

#include <string>

#include "coordinator/cluster/cluster.h"
#include "coordinator/schedule/scheduler.h"

namespace caravan::coordinator {

// A JSON object with "version", "build", "model", "ready", "nodes" (name,
// data_address, devices), "replicas" (each with state, epoch, tp, pp, memory
// and "ranks": node, pid, layers, heads, phase, step, bytes) and "requests"
// (counts and cache blocks). Members are only ever added.
std::string StatusJson(const std::string& model, const ClusterView& view,
                       const SchedulerStats& stats);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_STATUS_JSON_H_
