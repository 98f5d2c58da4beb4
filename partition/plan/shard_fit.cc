#include "partition/plan/shard_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/status_macros.h"

namespace caravan::partition {
namespace {

// Whole units for each share; all of them, and none without one.
std::vector<int64_t> CountUnits(int64_t num_units,
                                absl::Span<const double> shares) {
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<int64_t> counts(shares.size());
  std::vector<double> missing(shares.size());  // of what a share would be due
  for (size_t i = 0; i < shares.size(); ++i) {
    const double due = static_cast<double>(num_units) * shares[i] / all;
    counts[i] = std::max<int64_t>(1, static_cast<int64_t>(std::floor(due)));
    missing[i] = due - static_cast<double>(counts[i]);
  }
  int64_t left =
      num_units - std::accumulate(counts.begin(), counts.end(), int64_t{0});
  // Too many where small shares were given a unit each.
  for (; left < 0; ++left) {
    size_t richest = counts.size();
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 1) continue;
      if (richest == counts.size() || missing[i] < missing[richest]) {
        richest = i;
      }
    }
    --counts[richest];
    missing[richest] += 1;
  }
  for (; left > 0; --left) {
    const size_t poorest =
        std::max_element(missing.begin(), missing.end()) - missing.begin();
    ++counts[poorest];
    missing[poorest] -= 1;
  }
  return counts;
}

std::vector<Range> RangesOf(const std::vector<int64_t>& counts, int64_t unit,
                            int64_t total) {
  std::vector<Range> ranges;
  int64_t begin = 0;
  for (const int64_t count : counts) {
    ranges.push_back({begin, begin + count * unit});
    begin = ranges.back().end;
  }
  ranges.back().end = total;
  return ranges;
}

// What columns a rank is due, so that with its heads it has its share of a
// layer's parameters. Positive, as a share of columns must be.
std::vector<double> ColumnShares(const ModelSpec& spec,
                                 absl::Span<const double> shares,
                                 const std::vector<TensorShard>& shards) {
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  const auto columns = static_cast<double>(spec.intermediate_size);
  const auto attention = [&](const TensorShard& shard) {
    // In columns of the MLP, which have three parameters per hidden value.
    const int64_t heads = 2 * (shard.heads.size() + shard.kv_heads.size());
    return static_cast<double>(heads * spec.head_dim) / 3;
  };
  double layer = columns;
  for (const TensorShard& shard : shards) layer += attention(shard);
  std::vector<double> due;
  for (size_t i = 0; i < shares.size(); ++i) {
    due.push_back(
        std::max(1.0, layer * shares[i] / all - attention(shards[i])));
  }
  return due;
}

}  // namespace

std::vector<Range> SplitInProportion(int64_t total,
                                     absl::Span<const double> shares,
                                     int64_t unit) {
  CARAVAN_CHECK(unit >= 1);
  CARAVAN_CHECK(total / unit >= static_cast<int64_t>(shares.size()));
  for (const double share : shares) CARAVAN_CHECK(share > 0);
  return RangesOf(CountUnits(total / unit, shares), unit, total);
}

absl::StatusOr<std::vector<TensorShard>> ShardTensorsInProportion(
    const ModelSpec& spec, absl::Span<const double> shares) {
  const int tp = static_cast<int>(shares.size());
  // Refuses the same degrees.
  CARAVAN_ASSIGN_OR_RETURN(std::vector<TensorShard> shards,
                           ShardTensors(spec, tp));
  const int64_t group = spec.heads_per_kv_head();
  const std::vector<Range> heads = SplitInProportion(
      spec.num_heads, shares, tp <= spec.num_kv_heads ? group : 1);
  for (int rank = 0; rank < tp; ++rank) {
    shards[rank].heads = heads[rank];
    shards[rank].kv_heads = KvHeadsOf(spec, heads[rank]);
  }
  const std::vector<Range> columns = SplitInProportion(
      spec.intermediate_size, ColumnShares(spec, shares, shards),
      ColumnUnit(spec, tp));
  const std::vector<Range> vocabulary =
      SplitInProportion(spec.vocab_size, shares);
  for (int rank = 0; rank < tp; ++rank) {
    shards[rank].mlp_columns = columns[rank];
    shards[rank].vocabulary = vocabulary[rank];
  }
  return shards;
}

}  // namespace caravan::partition
