#include "partition/plan/shard_map.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"

namespace caravan::partition {

Range KvHeadsOf(const ModelSpec& spec, const Range& heads) {
  const int64_t group = spec.heads_per_kv_head();
  return {heads.begin / group, CeilDivide(heads.end, group)};
}

int64_t ColumnUnit(const ModelSpec& spec, int tp) {
  return spec.intermediate_size / kColumnUnit >= tp ? kColumnUnit : 1;
}

Range SplitEvenly(int64_t total, int parts, int index, int64_t unit) {
  CARAVAN_CHECK(total >= 0 && unit >= 1);
  CARAVAN_CHECK(index >= 0 && index < parts);
  const int64_t units = total / unit;
  const int64_t each = units / parts;
  const int64_t longer = units % parts;  // parts with one unit more
  const auto begin_of = [&](int64_t part) {
    return std::min((each * part + std::min(part, longer)) * unit, total);
  };
  Range range{begin_of(index), begin_of(index + 1)};
  // The remainder is smaller than a unit: it becomes a part of its own where
  // units do not reach all parts, else the last part takes it along.
  const int64_t last = units < parts ? units : parts - 1;
  if (index == last) range.end = total;
  if (index > last) range = {total, total};
  return range;
}

absl::StatusOr<std::vector<TensorShard>> ShardTensors(const ModelSpec& spec,
                                                      int tp) {
  if (tp < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor parallel size must be at least 1: tp=", tp));
  }
  if (tp > spec.num_heads) {
    return absl::InvalidArgumentError(
        absl::StrCat("more tensor parallel ranks than query heads: tp=", tp,
                     " heads=", spec.num_heads));
  }
  if (tp > spec.intermediate_size || tp > spec.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "more tensor parallel ranks than MLP columns or vocabulary rows: tp=",
        tp, " intermediate_size=", spec.intermediate_size,
        " vocab_size=", spec.vocab_size));
  }
  const int64_t column_unit = ColumnUnit(spec, tp);
  std::vector<TensorShard> shards(tp);
  for (int rank = 0; rank < tp; ++rank) {
    TensorShard& shard = shards[rank];
    if (tp <= spec.num_kv_heads) {
      const int64_t group = spec.heads_per_kv_head();
      shard.kv_heads = SplitEvenly(spec.num_kv_heads, tp, rank);
      shard.heads = {shard.kv_heads.begin * group, shard.kv_heads.end * group};
    } else {
      shard.heads = SplitEvenly(spec.num_heads, tp, rank);
      shard.kv_heads = KvHeadsOf(spec, shard.heads);
    }
    shard.mlp_columns =
        SplitEvenly(spec.intermediate_size, tp, rank, column_unit);
    shard.vocabulary = SplitEvenly(spec.vocab_size, tp, rank);
  }
  return shards;
}

StageCosts CostsOf(const ModelSpec& spec) {
  const int64_t heads = spec.num_heads + int64_t{2} * spec.num_kv_heads;
  const int64_t attention = spec.hidden_size * heads * spec.head_dim +
                            spec.attention_size() * spec.hidden_size;
  const int64_t mlp = 3 * spec.hidden_size * spec.intermediate_size;
  return {.layer = attention + mlp + 2 * spec.hidden_size,
          .embedding = spec.vocab_size * spec.hidden_size,
          .head = spec.vocab_size * spec.hidden_size + spec.hidden_size};
}

absl::StatusOr<std::vector<Range>> ShardLayers(const ModelSpec& spec, int pp) {
  if (pp < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("pipeline parallel size must be at least 1: pp=", pp));
  }
  if (pp > spec.num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("more pipeline stages than layers: pp=", pp,
                     " layers=", spec.num_layers));
  }
  const StageCosts costs = CostsOf(spec);
  std::vector<int64_t> cost(pp, costs.layer);
  std::vector<int64_t> num_layers(pp, 1);
  cost.front() += costs.embedding;
  cost.back() += costs.head;
  // All layers cost the same, so giving each one to the stage that is cheapest
  // so far makes the dearest stage as cheap as can be.
  for (int layer = pp; layer < spec.num_layers; ++layer) {
    const int64_t stage =
        std::min_element(cost.begin(), cost.end()) - cost.begin();
    ++num_layers[stage];
    cost[stage] += costs.layer;
  }
  std::vector<Range> ranges(pp);
  int64_t begin = 0;
  for (int stage = 0; stage < pp; ++stage) {
    ranges[stage] = {begin, begin + num_layers[stage]};
    begin = ranges[stage].end;
  }
  return ranges;
}

}  // namespace caravan::partition
