// What one shard of a row of logits contributes to sampling: backend.h,
// sampling.h.
#ifndef CARAVAN_WORKER_BACKEND_CPU_SHARD_SAMPLING_H_
#define CARAVAN_WORKER_BACKEND_CPU_SHARD_SAMPLING_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {

// A part of a row of logits: `logits[i]` is that of token first_id + i.
struct LogitPiece {
  absl::Span<const float> logits;
  int64_t first_id = 0;
};

// What a piece contributes to `request`. What is not a number counts as minus
// infinity but keeps its value, so that who reads it can see it.
ShardCandidates FindCandidates(const cpu::Kernels& kernels,
                               const LogitPiece& piece,
                               const CandidateRequest& request);

uint64_t SumMasses(const cpu::Kernels& kernels, absl::Span<const float> logits,
                   const MassRequest& request);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_SHARD_SAMPLING_H_
