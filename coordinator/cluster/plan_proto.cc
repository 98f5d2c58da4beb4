#include "coordinator/cluster/plan_proto.h"

#include <string>

#include "base/dtype.h"

namespace caravan::coordinator {
namespace {

void SetRange(const partition::Range& range, v1::Range* proto) {
  proto->set_begin(range.begin);
  proto->set_end(range.end);
}

}  // namespace

v1::EnginePlan ToProto(const partition::Plan& plan,
                       absl::Span<const RankPlacement> ranks) {
  v1::EnginePlan proto;
  proto.set_tp(plan.options.tp);
  proto.set_pp(plan.options.pp);
  proto.set_num_blocks(plan.num_blocks);
  proto.set_max_model_len(plan.options.max_model_len);
  proto.set_max_rows_per_step(plan.options.max_rows_per_step);
  proto.set_max_sequences(plan.options.max_sequences);
  proto.set_weight_dtype(std::string(Name(plan.options.weight_dtype)));
  proto.set_activation_dtype(std::string(Name(plan.options.activation_dtype)));
  proto.set_quantization(std::string(Name(plan.options.quantization)));
  proto.set_enforce_eager(plan.options.enforce_eager);
  proto.set_deterministic(plan.options.deterministic);
  for (const partition::RankPlan& rank : plan.ranks) {
    v1::RankPlan* out = proto.add_ranks();
    out->set_rank(rank.rank);
    out->set_stage(rank.stage);
    out->set_tp_rank(rank.tp_rank);
    out->set_node(rank.device.node);
    SetRange(rank.layers, out->mutable_layers());
    SetRange(rank.shard.heads, out->mutable_heads());
    SetRange(rank.shard.kv_heads, out->mutable_kv_heads());
    SetRange(rank.shard.mlp_columns, out->mutable_mlp_columns());
    SetRange(rank.shard.vocabulary, out->mutable_vocabulary());
    out->set_device(ranks[rank.rank].device_kind);
    out->set_device_uuid(ranks[rank.rank].device_uuid);
    out->set_num_threads(ranks[rank.rank].num_threads);
    out->set_weight_bytes(rank.memory.weights);
    out->set_kv_cache_bytes(rank.memory.kv_cache);
    out->set_kv_cache_dtype(std::string(Name(rank.kv_cache_dtype)));
    out->set_activation_bytes(rank.memory.activations);
    out->set_communication_bytes(rank.memory.communication);
    out->set_reserve_bytes(rank.memory.reserve);
  }
  return proto;
}

}  // namespace caravan::coordinator
