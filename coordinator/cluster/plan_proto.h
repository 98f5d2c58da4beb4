// partition::Plan as the message that engines get.
#ifndef CARAVAN_COORDINATOR_CLUSTER_PLAN_PROTO_H_
#define CARAVAN_COORDINATOR_CLUSTER_PLAN_PROTO_H_

#include "absl/types/span.h"
#include "caravan/v1/plan.pb.h"
#include "coordinator/cluster/placement.h"
#include "partition/plan/plan.h"

namespace caravan::coordinator {

// Everything but replica, epoch, step_timeout_ms and model location. `ranks`
// holds the placement from which `plan` was made.
v1::EnginePlan ToProto(const partition::Plan& plan,
                       absl::Span<const RankPlacement> ranks);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_PLAN_PROTO_H_
