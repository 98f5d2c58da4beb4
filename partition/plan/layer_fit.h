// How layers are divided among pipeline stages of unequal room. Pure.
#ifndef CARAVAN_PARTITION_PLAN_LAYER_FIT_H_
#define CARAVAN_PARTITION_PLAN_LAYER_FIT_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "partition/model/model_spec.h"
#include "partition/plan/shard_map.h"

namespace caravan::partition {

// Whether a stage has room for these layers; then it has for any part of them.
using StageFits = absl::FunctionRef<bool(int stage, const Range& layers)>;

// ShardLayers, where all its stages fit. Else, of all divisions whose stages
// fit, one whose slowest stage is as fast as can be, found stage by stage from
// the best divisions of the layers before (the linear partition problem, by
// dynamic programming). ShardLayers again where nothing fits. kInvalidArgument:
// as ShardLayers.
absl::StatusOr<std::vector<Range>> FitLayers(const ModelSpec& spec, int pp,
                                             StageFits fits);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_LAYER_FIT_H_
