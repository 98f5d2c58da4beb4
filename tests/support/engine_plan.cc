#include "tests/support/engine_plan.h"

#include <vector>

#include "base/status_macros.h"
#include "partition/plan/shard_fit.h"
#include "partition/plan/shard_map.h"
#include "tests/support/slowdown.h"

namespace caravan::testing {
namespace {

void Set(const partition::Range& from, v1::Range* to) {
  to->set_begin(from.begin);
  to->set_end(from.end);
}

}  // namespace

absl::StatusOr<v1::EnginePlan> MakeEnginePlan(
    const partition::ModelSpec& spec, const EnginePlanOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(
      std::vector<partition::TensorShard> shards,
      options.shares.empty()
          ? partition::ShardTensors(spec, options.tp)
          : partition::ShardTensorsInProportion(spec, options.shares));
  CARAVAN_ASSIGN_OR_RETURN(std::vector<partition::Range> layers,
                           partition::ShardLayers(spec, options.pp));
  v1::EnginePlan plan;
  plan.set_replica(1);
  plan.set_epoch(1);
  plan.set_tp(options.tp);
  plan.set_pp(options.pp);
  plan.set_num_blocks(options.num_blocks);
  plan.set_max_model_len(options.max_model_len);
  plan.set_max_rows_per_step(options.max_rows_per_step);
  plan.set_max_sequences(64);
  plan.set_weight_dtype(options.weight_dtype);
  plan.set_quantization(options.quantization);
  plan.set_activation_dtype(options.activation_dtype);
  plan.set_step_timeout_ms(30000 * kSlowdown);
  for (int stage = 0; stage < options.pp; ++stage) {
    for (int tp_rank = 0; tp_rank < options.tp; ++tp_rank) {
      v1::RankPlan* rank = plan.add_ranks();
      rank->set_rank(stage * options.tp + tp_rank);
      rank->set_stage(stage);
      rank->set_tp_rank(tp_rank);
      rank->set_node("test");
      rank->set_num_threads(options.num_threads);
      rank->set_kv_cache_dtype(options.kv_cache_dtype);
      Set(layers[stage], rank->mutable_layers());
      Set(shards[tp_rank].heads, rank->mutable_heads());
      Set(shards[tp_rank].kv_heads, rank->mutable_kv_heads());
      Set(shards[tp_rank].mlp_columns, rank->mutable_mlp_columns());
      Set(shards[tp_rank].vocabulary, rank->mutable_vocabulary());
    }
  }
  return plan;
}

}  // namespace caravan::testing
