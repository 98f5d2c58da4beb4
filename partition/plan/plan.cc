#include "partition/plan/plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "partition/plan/layout.h"
#include "partition/plan/plan_advice.h"

namespace caravan::partition {
namespace {

// Bounds that keep the arithmetic far from overflow.
constexpr int64_t kMostRows = int64_t{1} << 20;
constexpr int64_t kMostSequences = int64_t{1} << 20;
constexpr int64_t kMostBlocks = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostMemory = int64_t{1} << 50;

absl::Status CheckRange(absl::string_view name, int64_t value, int64_t least,
                        int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must be ", least, " to ", most, ", is ", value));
}

absl::StatusOr<PlanOptions> Resolve(const ModelSpec& spec,
                                    const std::vector<DeviceSpec>& devices,
                                    PlanOptions options) {
  if (options.max_model_len == 0) options.max_model_len = spec.max_positions;
  CARAVAN_RETURN_IF_ERROR(CheckRange("max_model_len", options.max_model_len, 1,
                                     spec.max_positions));
  CARAVAN_RETURN_IF_ERROR(
      CheckRange("max_sequences", options.max_sequences, 1, kMostSequences));
  CARAVAN_RETURN_IF_ERROR(
      CheckRange("max_rows_per_step", options.max_rows_per_step, 1, kMostRows));
  CARAVAN_RETURN_IF_ERROR(
      CheckRange("num_blocks", options.num_blocks, 0, kMostBlocks));
  if (!(options.memory_utilization > 0 && options.memory_utilization <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("memory_utilization must be above 0 and at most 1, is ",
                     options.memory_utilization));
  }
  if (options.activation_dtype != DType::kFloat32 &&
      options.activation_dtype != DType::kBFloat16) {
    return absl::InvalidArgumentError(
        absl::StrCat("activation_dtype must be float32 or bfloat16, is ",
                     Name(options.activation_dtype)));
  }
  for (const DeviceSpec& device : devices) {
    CARAVAN_RETURN_IF_ERROR(
        Annotate(CheckRange("memory", device.memory_bytes, 0, kMostMemory),
                 absl::StrCat("device ", DeviceName(device))));
  }
  return options;
}

std::string GiB(double bytes) {
  return absl::StrFormat("%.2f GiB", bytes / 0x1p30);
}

// `rank` is the one that is shortest of memory.
absl::Status DoesNotFit(const Plan& plan, const RankPlan& rank,
                        const std::vector<DeviceSpec>& devices) {
  const PlanOptions& options = plan.options;
  const double blocks = static_cast<double>(LeastBlocks(options));
  const double kv_cache =
      blocks * static_cast<double>(KvBlockBytes(plan.spec, rank));
  const double needed = static_cast<double>(rank.memory.total()) + kv_cache;
  const double usable = static_cast<double>(UsableBytes(rank.device, options));
  const std::vector<std::string> changes =
      ChangesThatFit(plan.spec, devices, options);
  return absl::ResourceExhaustedError(absl::StrCat(
      "the model does not fit: rank ", rank.rank, " (stage ", rank.stage,
      ", tp rank ", rank.tp_rank, ", on ", DeviceName(rank.device), ") needs ",
      GiB(needed), " and may use ", GiB(usable), ", ", GiB(needed - usable),
      " too little. It needs ", GiB(rank.memory.weights), " for weights, ",
      GiB(kv_cache), " for ", LeastBlocks(options), " KV blocks (",
      options.num_blocks > 0
          ? std::string("as asked for")
          : absl::StrCat("one sequence of ", options.max_model_len, " tokens"),
      "), ", GiB(rank.memory.activations), " for activations, ",
      GiB(rank.memory.communication), " for communication",
      rank.memory.reserve == 0
          ? ""
          : absl::StrCat(", ", GiB(rank.memory.reserve), " for CUDA itself"),
      ". ",
      changes.empty()
          ? absl::StrCat("No single change of options would do; devices of ",
                         GiB(needed / options.memory_utilization), " would")
          : absl::StrCat("What would fit: ", absl::StrJoin(changes, ", or ")),
      "."));
}

// Positive: by so much the rank is short.
double Shortage(const Plan& plan, const RankPlan& rank) {
  const double block = static_cast<double>(KvBlockBytes(plan.spec, rank));
  return static_cast<double>(rank.memory.total()) +
         block * static_cast<double>(LeastBlocks(plan.options)) -
         static_cast<double>(UsableBytes(rank.device, plan.options));
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const ModelSpec& spec,
                              const std::vector<DeviceSpec>& devices,
                              const PlanOptions& options) {
  CARAVAN_RETURN_IF_ERROR(Validate(spec));
  CARAVAN_RETURN_IF_ERROR(CheckQuantization(spec, options.quantization));
  Plan plan{.spec = spec};
  CARAVAN_ASSIGN_OR_RETURN(plan.options, Resolve(spec, devices, options));
  CARAVAN_ASSIGN_OR_RETURN(plan.ranks,
                           LayOutRanks(spec, devices, plan.options));
  const RankPlan& shortest =
      *std::max_element(plan.ranks.begin(), plan.ranks.end(),
                        [&](const RankPlan& a, const RankPlan& b) {
                          return Shortage(plan, a) < Shortage(plan, b);
                        });
  if (BlocksThatFit(spec, shortest, plan.options) < LeastBlocks(plan.options)) {
    return DoesNotFit(plan, shortest, devices);
  }
  plan.num_blocks = plan.options.num_blocks;
  if (plan.num_blocks == 0) {
    plan.num_blocks =
        std::min(kMostBlocks, plan.options.max_sequences *
                                  BlocksOfLongestSequence(plan.options));
    for (const RankPlan& rank : plan.ranks) {
      plan.num_blocks =
          std::min(plan.num_blocks, BlocksThatFit(spec, rank, plan.options));
    }
  }
  plan.options.num_blocks = plan.num_blocks;
  for (RankPlan& rank : plan.ranks) {
    rank.memory.kv_cache = plan.num_blocks * KvBlockBytes(spec, rank);
  }
  return plan;
}

}  // namespace caravan::partition
