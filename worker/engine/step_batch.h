// A step as rows: what its entries mean for the forward pass and for sampling.
#ifndef CARAVAN_WORKER_ENGINE_STEP_BATCH_H_
#define CARAVAN_WORKER_ENGINE_STEP_BATCH_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "caravan/v1/step.pb.h"
#include "worker/backend/batch.h"
#include "worker/engine/sequence_table.h"

namespace caravan::worker {

// A row whose logits decide the next token of a sequence.
struct SampledRow {
  int entry = 0;
  int64_t row = 0;
  int64_t position = 0;  // of the token to be sampled
  const v1::SamplingParameters* sampling = nullptr;
};

// A row whose logits give the log-probability of a prompt token that is known.
struct ScoredRow {
  int entry = 0;
  int64_t row = 0;
  int32_t id = -1;
  int num_top = 0;
};

struct StepBatch {
  Batch batch;
  std::vector<EngineSequence*> sequences;  // of each entry
  std::vector<SampledRow> sampled;
  std::vector<ScoredRow> scored;
};

// Extends `table` by the step's entries. Pointers hold until the table changes.
absl::StatusOr<StepBatch> MakeStepBatch(const v1::Step& step,
                                        SequenceTable& table, int64_t max_rows);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_STEP_BATCH_H_
