// How heads, columns and vocabulary rows are divided among tensor-parallel
// ranks, and layers among pipeline stages. Pure functions.
#ifndef CARAVAN_PARTITION_PLAN_SHARD_MAP_H_
#define CARAVAN_PARTITION_PLAN_SHARD_MAP_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// Half-open.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
  friend bool operator==(const Range&, const Range&) = default;
};

// Part `index` of `total` in `parts` parts that differ by at most one `unit`;
// the last non-empty part takes what a unit does not divide.
Range SplitEvenly(int64_t total, int parts, int index, int64_t unit = 1);

// What one tensor-parallel rank holds of every layer of its stage.
struct TensorShard {
  Range heads;     // query heads
  Range kv_heads;  // those that these query heads read
  Range mlp_columns;
  Range vocabulary;  // rows of the embedding and of the head
};

// The MLP is split on multiples of this many columns where there are enough, so
// that blocks of quantized weights stay whole.
inline constexpr int64_t kColumnUnit = 32;

// On how many columns it is split among `tp` ranks.
int64_t ColumnUnit(const ModelSpec& spec, int tp);

// The KV heads that these query heads read.
Range KvHeadsOf(const ModelSpec& spec, const Range& heads);

// Up to the number of KV heads, attention splits by KV-head groups; above it,
// by query heads, and KV heads that several ranks read are held by each of
// them. kInvalidArgument: more ranks than query heads.
absl::StatusOr<std::vector<TensorShard>> ShardTensors(const ModelSpec& spec,
                                                      int tp);

// Parameters, as a measure of the bytes that a stage reads for each token.
struct StageCosts {
  int64_t layer = 0;
  int64_t embedding = 0;  // of the first stage
  int64_t head = 0;       // of the last
};
StageCosts CostsOf(const ModelSpec& spec);

// Layers per stage such that the slowest stage is as fast as can be, counting
// the embedding into the first stage and the head into the last by their bytes.
// kInvalidArgument: more stages than layers.
absl::StatusOr<std::vector<Range>> ShardLayers(const ModelSpec& spec, int pp);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_SHARD_MAP_H_
