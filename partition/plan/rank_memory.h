// What one rank's engine allocates, from the plan alone. Mirrors the decoder
// (worker/llama) and the loader (worker/engine): whoever changes what they
// allocate changes this too.
#ifndef CARAVAN_PARTITION_PLAN_RANK_MEMORY_H_
#define CARAVAN_PARTITION_PLAN_RANK_MEMORY_H_

#include <cstdint>

#include "partition/model/model_spec.h"
#include "partition/plan/plan.h"

namespace caravan::partition {

// Matrices in weight_dtype with their rows filled up to whole panels, norms in
// float32. Tied embeddings that meet on one rank are held once.
int64_t WeightBytes(const ModelSpec& spec, const RankPlan& rank,
                    const PlanOptions& options);

// Everything between weights and cache that does not depend on the number of
// blocks: residual stream, queries, attention, MLP, logits, RoPE tables, and
// the kernels' scratch.
int64_t ActivationBytes(const ModelSpec& spec, const RankPlan& rank,
                        const PlanOptions& options);

// Messages being sent, received and added.
int64_t CommunicationBytes(const ModelSpec& spec, const PlanOptions& options);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_RANK_MEMORY_H_
