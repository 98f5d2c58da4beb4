#include "partition/plan/layout.h"

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "partition/plan/layer_fit.h"
#include "partition/plan/rank_memory.h"

namespace caravan::partition {

namespace {

bool Fits(const ModelSpec& spec, const RankPlan& rank,
          const PlanOptions& options) {
  return BlocksThatFit(spec, rank, options) >= LeastBlocks(options);
}

}  // namespace

absl::StatusOr<std::vector<RankPlan>> LayOutRanks(
    const ModelSpec& spec, const std::vector<DeviceSpec>& devices,
    const PlanOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<TensorShard> shards,
                           ShardTensors(spec, options.tp));
  // Refuses impossible degrees before it is said that devices are too few.
  CARAVAN_RETURN_IF_ERROR(ShardLayers(spec, options.pp).status());
  const size_t num_ranks = shards.size() * static_cast<size_t>(options.pp);
  if (devices.size() < num_ranks) {
    return absl::InvalidArgumentError(absl::StrCat(
        "too few devices: devices=", devices.size(), " needed=", num_ranks,
        " (tp=", options.tp, " x pp=", options.pp, ")"));
  }
  const auto rank_of = [&](int stage, int tp_rank, const Range& layers) {
    RankPlan rank{.rank = stage * options.tp + tp_rank,
                  .stage = stage,
                  .tp_rank = tp_rank,
                  .device = devices[stage * options.tp + tp_rank],
                  .layers = layers,
                  .shard = shards[tp_rank],
                  .has_embedding = stage == 0,
                  .has_head = stage == options.pp - 1};
    rank.memory = MemoryWithoutCache(spec, rank, options);
    return rank;
  };
  const auto fits = [&](int stage, const Range& layers) {
    for (int tp_rank = 0; tp_rank < options.tp; ++tp_rank) {
      if (!Fits(spec, rank_of(stage, tp_rank, layers), options)) return false;
    }
    return true;
  };
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<Range> stages,
                           FitLayers(spec, options.pp, fits));
  std::vector<RankPlan> ranks;
  ranks.reserve(num_ranks);
  for (int stage = 0; stage < options.pp; ++stage) {
    for (int tp_rank = 0; tp_rank < options.tp; ++tp_rank) {
      ranks.push_back(rank_of(stage, tp_rank, stages[stage]));
    }
  }
  return ranks;
}

int64_t BlocksOfLongestSequence(const PlanOptions& options) {
  return CeilDivide(options.max_model_len, kBlockTokens);
}

int64_t LeastBlocks(const PlanOptions& options) {
  return options.num_blocks > 0 ? options.num_blocks
                                : BlocksOfLongestSequence(options);
}

int64_t UsableBytes(const DeviceSpec& device, const PlanOptions& options) {
  return static_cast<int64_t>(static_cast<double>(device.memory_bytes) *
                              options.memory_utilization);
}

std::string DeviceName(const DeviceSpec& device) {
  const bool both = !device.node.empty() && !device.name.empty();
  return absl::StrCat(device.node, both ? "/" : "", device.name);
}

int64_t BlocksThatFit(const ModelSpec& spec, const RankPlan& rank,
                      const PlanOptions& options) {
  const int64_t room = UsableBytes(rank.device, options) -
                       (rank.memory.total() - rank.memory.kv_cache);
  if (room < 0) return -1;
  return room / KvBlockBytes(spec, rank, options.kv_dtype);
}

}  // namespace caravan::partition
