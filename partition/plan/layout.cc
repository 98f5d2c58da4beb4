#include "partition/plan/layout.h"

#include <algorithm>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "partition/plan/kv_cache_dtype.h"
#include "partition/plan/layer_fit.h"
#include "partition/plan/rank_memory.h"
#include "partition/plan/shard_fit.h"

namespace caravan::partition {

namespace {

bool AllFit(const ModelSpec& spec, absl::Span<const RankPlan> ranks,
            const PlanOptions& options) {
  return std::all_of(ranks.begin(), ranks.end(), [&](const RankPlan& rank) {
    return BlocksThatFit(spec, rank, options) >= LeastBlocks(options);
  });
}

// Lays out stage by stage, as a way to make the ranks of a stage says.
class Layouter {
 public:
  using MakeStage =
      absl::FunctionRef<std::vector<RankPlan>(int stage, const Range& layers)>;

  Layouter(const ModelSpec& spec, const std::vector<DeviceSpec>& devices,
           const PlanOptions& options, const std::vector<TensorShard>& even)
      : spec_(spec), devices_(devices), options_(options), even_(even) {}

  absl::StatusOr<std::vector<RankPlan>> LayOut(MakeStage make_stage) const {
    CARAVAN_ASSIGN_OR_RETURN(
        const std::vector<Range> stages,
        FitLayers(spec_, options_.pp, [&](int stage, const Range& layers) {
          return AllFit(spec_, make_stage(stage, layers), options_);
        }));
    std::vector<RankPlan> ranks;
    for (int stage = 0; stage < options_.pp; ++stage) {
      for (RankPlan& rank : make_stage(stage, stages[stage])) {
        ranks.push_back(std::move(rank));
      }
    }
    return ranks;
  }

  std::vector<RankPlan> Stage(int stage, const Range& layers,
                              const std::vector<TensorShard>& shards) const {
    std::vector<RankPlan> ranks;
    for (int tp_rank = 0; tp_rank < options_.tp; ++tp_rank) {
      RankPlan rank{.rank = stage * options_.tp + tp_rank,
                    .stage = stage,
                    .tp_rank = tp_rank,
                    .device = devices_[stage * options_.tp + tp_rank],
                    .layers = layers,
                    .shard = shards[tp_rank],
                    .kv_cache_dtype = KvCacheDType(
                        options_.kv_cache_dtype, spec_,
                        devices_[stage * options_.tp + tp_rank].kind),
                    .has_embedding = stage == 0,
                    .has_head = stage == options_.pp - 1};
      rank.memory = MemoryWithoutCache(spec_, rank, options_);
      ranks.push_back(std::move(rank));
    }
    return ranks;
  }

  // Where even shards do not fit: each rank's is in proportion to the room that
  // its device has for weights and cache.
  std::vector<RankPlan> StageInProportion(int stage,
                                          const Range& layers) const {
    std::vector<RankPlan> ranks = Stage(stage, layers, even_);
    if (AllFit(spec_, ranks, options_)) return ranks;
    std::vector<double> rooms;
    for (const RankPlan& rank : ranks) {
      const int64_t room = UsableBytes(rank.device, options_) -
                           (rank.memory.total() - rank.memory.weights);
      if (room <= 0) return ranks;
      rooms.push_back(static_cast<double>(room));
    }
    const absl::StatusOr<std::vector<TensorShard>> shards =
        ShardTensorsInProportion(spec_, rooms);
    return shards.ok() ? Stage(stage, layers, *shards) : ranks;
  }

 private:
  const ModelSpec& spec_;
  const std::vector<DeviceSpec>& devices_;
  const PlanOptions& options_;
  const std::vector<TensorShard>& even_;
};

}  // namespace

absl::StatusOr<std::vector<RankPlan>> LayOutRanks(
    const ModelSpec& spec, const std::vector<DeviceSpec>& devices,
    const PlanOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<TensorShard> even,
                           ShardTensors(spec, options.tp));
  // Refuses impossible degrees before it is said that devices are too few.
  CARAVAN_RETURN_IF_ERROR(ShardLayers(spec, options.pp).status());
  const size_t num_ranks = even.size() * static_cast<size_t>(options.pp);
  if (devices.size() < num_ranks) {
    return absl::InvalidArgumentError(absl::StrCat(
        "too few devices: devices=", devices.size(), " needed=", num_ranks,
        " (tp=", options.tp, " x pp=", options.pp, ")"));
  }
  const Layouter layouter(spec, devices, options, even);
  CARAVAN_ASSIGN_OR_RETURN(std::vector<RankPlan> ranks,
                           layouter.LayOut([&](int stage, const Range& layers) {
                             return layouter.Stage(stage, layers, even);
                           }));
  if (options.tp == 1 || AllFit(spec, ranks, options)) return ranks;
  CARAVAN_ASSIGN_OR_RETURN(std::vector<RankPlan> uneven,
                           layouter.LayOut([&](int stage, const Range& layers) {
                             return layouter.StageInProportion(stage, layers);
                           }));
  return AllFit(spec, uneven, options) ? uneven : ranks;
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
  return room / KvBlockBytes(spec, rank);
}

}  // namespace caravan::partition
