#include "worker/engine/decoder_setup.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "partition/plan/plan.h"
#include "worker/engine/shard_loader.h"

namespace caravan::worker {
namespace {

using partition::ModelSpec;

int64_t Size(const v1::Range& range) { return range.end() - range.begin(); }

RopeParameters ToRopeParameters(const ModelSpec& spec) {
  using Scaling = RopeParameters::Scaling;
  RopeParameters rope{
      .head_dim = spec.head_dim,
      .theta = spec.rope.theta,
      .factor = spec.rope.factor,
      .low_frequency_factor = spec.rope.low_frequency_factor,
      .high_frequency_factor = spec.rope.high_frequency_factor,
      .original_max_positions = spec.rope.original_max_positions};
  switch (spec.rope.scaling) {
    case partition::RopeScaling::kNone:
      rope.scaling = Scaling::kNone;
      break;
    case partition::RopeScaling::kLinear:
      rope.scaling = Scaling::kLinear;
      break;
    case partition::RopeScaling::kDynamic:
      rope.scaling = Scaling::kDynamic;
      break;
    case partition::RopeScaling::kLlama3:
      rope.scaling = Scaling::kLlama3;
      break;
  }
  return rope;
}

AttentionShape ToAttentionShape(const ModelSpec& spec,
                                const v1::RankPlan& rank) {
  AttentionShape shape{.num_heads = static_cast<int>(Size(rank.heads())),
                       .num_kv_heads = static_cast<int>(Size(rank.kv_heads())),
                       .head_dim = spec.head_dim};
  for (int64_t head = rank.heads().begin(); head < rank.heads().end(); ++head) {
    shape.kv_head_of.push_back(static_cast<int>(
        head / spec.heads_per_kv_head() - rank.kv_heads().begin()));
  }
  return shape;
}

absl::Status CheckFit(const ModelSpec& spec, const v1::RankPlan& rank) {
  const auto within = [](const v1::Range& range, int64_t total) {
    return range.begin() >= 0 && range.begin() < range.end() &&
           range.end() <= total;
  };
  if (within(rank.layers(), spec.num_layers) &&
      within(rank.heads(), spec.num_heads) &&
      within(rank.kv_heads(), spec.num_kv_heads) &&
      within(rank.mlp_columns(), spec.intermediate_size) &&
      within(rank.vocabulary(), spec.vocab_size)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the plan does not fit the model: rank=", rank.rank(), " ",
                   rank.ShortDebugString()));
}

// Before minutes of reading end in a refused allocation.
absl::Status CheckRoom(const v1::RankPlan& rank, const DeviceInfo& device) {
  const int64_t needed =
      rank.weight_bytes() + rank.kv_cache_bytes() + rank.activation_bytes();
  if (!device.free_bytes.has_value() || needed <= *device.free_bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "too little of the device's memory is free: device=", device.name,
      " free=", *device.free_bytes, " planned=", needed,
      "; other processes use the rest (`nvidia-smi` shows them): end them, or "
      "plan for less by --gpu-memory-utilization"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> CreateDecoder(
    const DecoderSetup& setup) {
  const ModelSpec& spec = setup.source->spec();
  const v1::RankPlan& rank = *setup.rank;
  CARAVAN_RETURN_IF_ERROR(CheckFit(spec, rank));
  CARAVAN_RETURN_IF_ERROR(CheckRoom(rank, setup.backend->Info()));
  partition::HoldOptions hold{.dtype = spec.dtype};
  CARAVAN_ASSIGN_OR_RETURN(hold.quantization, partition::ParseQuantization(
                                                  setup.plan->quantization()));
  CARAVAN_RETURN_IF_ERROR(
      partition::CheckQuantization(spec, hold.quantization));
  if (setup.plan->weight_dtype() != "auto") {
    CARAVAN_ASSIGN_OR_RETURN(hold.dtype,
                             ParseDType(setup.plan->weight_dtype()));
  }

  CARAVAN_ASSIGN_OR_RETURN(const DType kv_cache_dtype,
                           ParseDType(rank.kv_cache_dtype()));

  DecoderOptions options;
  CARAVAN_ASSIGN_OR_RETURN(
      options.weights,
      LoadShard(*setup.source,
                {.rank = &rank,
                 .has_embedding = rank.stage() == 0,
                 .has_head = rank.stage() == setup.plan->pp() - 1,
                 .hold = hold,
                 .on_progress = setup.on_load_progress},
                *setup.backend));
  options.shape = {.num_layers = static_cast<int>(Size(rank.layers())),
                   .hidden_size = spec.hidden_size,
                   .attention = ToAttentionShape(spec, rank),
                   .mlp_columns = Size(rank.mlp_columns()),
                   .vocabulary_begin = rank.vocabulary().begin(),
                   .vocabulary_size = Size(rank.vocabulary()),
                   .adds_residual = rank.tp_rank() == 0};
  options.limits = {.max_rows = setup.plan->max_rows_per_step(),
                    .max_sequences = setup.plan->max_sequences(),
                    .max_logit_rows = std::min(partition::kMaxLogitRows,
                                               setup.plan->max_rows_per_step()),
                    .max_positions = setup.plan->max_model_len(),
                    .num_blocks = setup.plan->num_blocks(),
                    .kv_cache_dtype = kv_cache_dtype};
  options.rope = ToRopeParameters(spec);
  options.backend = setup.backend;
  options.group = setup.group;
  options.progress = setup.progress;
  return Decoder::Create(std::move(options));
}

}  // namespace caravan::worker
