// The steps of MakePlan, which plan_advice repeats for other degrees.
#ifndef CARAVAN_PARTITION_PLAN_LAYOUT_H_
#define CARAVAN_PARTITION_PLAN_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/model/model_spec.h"
#include "partition/plan/plan.h"

namespace caravan::partition {

// Layers, shard and memory but for the cache of each rank on its device; there
// must be tp * pp devices. kInvalidArgument: degrees that the model does not
// allow.
absl::StatusOr<std::vector<RankPlan>> LayOutRanks(
    const ModelSpec& spec, const std::vector<DeviceSpec>& devices,
    const PlanOptions& options);

// Of a sequence of max_model_len.
int64_t BlocksOfLongestSequence(const PlanOptions& options);

// The fewest blocks that a plan may have.
int64_t LeastBlocks(const PlanOptions& options);

// What the plan may fill of the device.
int64_t UsableBytes(const DeviceSpec& device, const PlanOptions& options);

// "node/name", or what there is of it.
std::string DeviceName(const DeviceSpec& device);

// Blocks for which `rank` has room; negative when not even the rest fits.
int64_t BlocksThatFit(const ModelSpec& spec, const RankPlan& rank,
                      const PlanOptions& options);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_LAYOUT_H_
