// What one rank's engine allocates, from the plan alone; on GPUs by
// gpu_memory.h. Mirrors the decoder (worker/llama) and the loader
// (worker/engine): whoever changes what they allocate changes this too.
#ifndef CARAVAN_PARTITION_PLAN_RANK_MEMORY_H_
#define CARAVAN_PARTITION_PLAN_RANK_MEMORY_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "base/weight_format.h"
#include "partition/model/model_spec.h"
#include "partition/plan/held_format.h"
#include "partition/plan/plan.h"

namespace caravan::partition {

// A matrix that a rank holds, and how many like it.
struct HeldMatrix {
  int64_t count = 1;
  int64_t rows = 0;
  int64_t cols = 0;
  WeightFormat format = WeightFormat::kFloat32;
};

// Every matrix of the rank, in no order that matters. Tied embeddings that meet
// on one rank are held once.
void ForEachMatrix(const ModelSpec& spec, const RankPlan& rank,
                   const HoldOptions& options,
                   absl::FunctionRef<void(const HeldMatrix& matrix)> visit);

// One rank that holds the whole model.
RankPlan WholeModel(const ModelSpec& spec);

// The formats of the ranks' matrices, that of most bytes first: "q8, float32".
std::string HeldFormatNames(const ModelSpec& spec,
                            absl::Span<const RankPlan> ranks,
                            const HoldOptions& options);

// All but the KV cache, on the rank's device:
//   weights: matrices as they are held, norms in float32;
//   activations: everything that does not depend on the number of blocks:
//   residual stream, queries, attention, MLP, logits, RoPE tables, and the
//   kernels' scratch;
//   communication: messages being sent, received and added;
//   reserve: as GpuReserveBytes.
RankMemory MemoryWithoutCache(const ModelSpec& spec, const RankPlan& rank,
                              const PlanOptions& options);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_RANK_MEMORY_H_
