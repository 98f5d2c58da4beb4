#include "coordinator/cluster/replica_planner.h"

#include <algorithm>
#include <map>
#include <string>

#include "base/status_macros.h"
#include "coordinator/cluster/plan_proto.h"

namespace caravan::coordinator {
namespace {

// A core without vector units that shares its memory with others.
constexpr double kSlowFlopsPerSecond = 5e9;
constexpr double kLeastStepTimeoutSeconds = 60;
// Simulated engines hold nothing.
constexpr int64_t kBoundlessMemory = int64_t{1} << 50;

// Blocks for which every node has room. A GPU's memory is for nothing else.
int64_t CapBlocks(const partition::Plan& plan,
                  const std::vector<RankPlacement>& ranks,
                  int64_t bytes_per_node) {
  std::map<std::string, int64_t> block_bytes;
  for (const partition::RankPlan& rank : plan.ranks) {
    if (ranks[rank.rank].device_kind != "cpu") continue;
    block_bytes[rank.device.node] += partition::KvBlockBytes(plan.spec, rank);
  }
  int64_t blocks = plan.num_blocks;
  for (const auto& [node, bytes] : block_bytes) {
    blocks = std::min(blocks, bytes_per_node / std::max<int64_t>(1, bytes));
  }
  const int64_t one_sequence =
      (plan.options.max_model_len + partition::kBlockTokens - 1) /
      partition::kBlockTokens;
  return std::min(plan.num_blocks, std::max(blocks, one_sequence));
}

}  // namespace

absl::StatusOr<v1::EnginePlan> PlanReplica(const PlannerOptions& options,
                                           const std::vector<Node>& nodes) {
  CARAVAN_ASSIGN_OR_RETURN(
      const std::vector<RankPlacement> ranks,
      PlaceRanks(nodes, {.tp = options.plan.tp,
                         .pp = options.plan.pp,
                         .threads_per_rank = options.threads_per_rank,
                         .device = options.device}));
  std::vector<partition::DeviceSpec> devices;
  for (const RankPlacement& rank : ranks) {
    devices.push_back(rank.device);
    if (rank.device_kind == "simulated") {
      devices.back().memory_bytes = kBoundlessMemory;
    }
  }
  CARAVAN_ASSIGN_OR_RETURN(
      partition::Plan plan,
      partition::MakePlan(options.spec, devices, options.plan));
  if (options.plan.num_blocks == 0) {
    partition::PlanOptions capped = options.plan;
    capped.num_blocks = CapBlocks(plan, ranks, options.kv_cache_bytes_per_node);
    CARAVAN_ASSIGN_OR_RETURN(
        plan, partition::MakePlan(options.spec, devices, capped));
  }
  v1::EnginePlan proto = ToProto(plan, ranks);
  *proto.mutable_model() = options.model;
  const double seconds =
      std::max(kLeastStepTimeoutSeconds,
               SlowSecondsPerRow(options.spec) *
                   static_cast<double>(plan.options.max_rows_per_step));
  proto.set_step_timeout_ms(static_cast<int64_t>(seconds * 1000));
  return proto;
}

double SlowSecondsPerRow(const partition::ModelSpec& spec) {
  // A multiplication and an addition for each parameter.
  return 2.0 * static_cast<double>(partition::CountParameters(spec)) /
         kSlowFlopsPerSecond;
}

}  // namespace caravan::coordinator
