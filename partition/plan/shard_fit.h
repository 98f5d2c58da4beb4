// How heads, columns and vocabulary rows are divided among tensor-parallel
// ranks of unequal room. Pure.
#ifndef CARAVAN_PARTITION_PLAN_SHARD_FIT_H_
#define CARAVAN_PARTITION_PLAN_SHARD_FIT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "partition/model/model_spec.h"
#include "partition/plan/shard_map.h"

namespace caravan::partition {

// `total` in parts of whole units in proportion to `shares`, each of at least
// one unit, by the method of largest remainders. The last part takes what a
// unit does not divide. There are as many units as shares at least, and shares
// are positive.
std::vector<Range> SplitInProportion(int64_t total,
                                     absl::Span<const double> shares,
                                     int64_t unit = 1);

// ShardTensors with one rank for each of `shares`, which are positive, and
// parts in proportion to them. Heads are few, so a rank can miss its share of
// them by nearly one KV-head group; MLP columns, of which there are many, make
// up for it, so that each rank's weights are as close to its share as can be.
// kInvalidArgument: as ShardTensors.
absl::StatusOr<std::vector<TensorShard>> ShardTensorsInProportion(
    const ModelSpec& spec, absl::Span<const double> shares);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_SHARD_FIT_H_
