#include "worker/engine/step_batch.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

void AddScoredRows(const v1::StepEntry& entry, int index,
                   const BatchSequence& rows, int num_top, StepBatch* batch) {
  for (int i = 0; i < entry.ids_size(); ++i) {
    const bool last = i + 1 == entry.ids_size();
    if (last && !entry.has_next_id()) break;
    batch->scored.push_back({.entry = index,
                             .row = rows.first_row + i,
                             .id = last ? entry.next_id() : entry.ids(i + 1),
                             .num_top = num_top});
  }
}

}  // namespace

absl::StatusOr<StepBatch> MakeStepBatch(const v1::Step& step,
                                        SequenceTable& table,
                                        int64_t max_rows) {
  StepBatch result;
  for (int index = 0; index < step.entries_size(); ++index) {
    const v1::StepEntry& entry = step.entries(index);
    CARAVAN_ASSIGN_OR_RETURN(EngineSequence * sequence, table.Extend(entry));
    const int64_t num_rows = NumTokens(entry);
    const BatchSequence rows{.first_row = result.batch.num_rows,
                             .num_rows = num_rows,
                             .first_position = sequence->length - num_rows,
                             .blocks = sequence->blocks};
    result.batch.sequences.push_back(rows);
    result.batch.num_rows += num_rows;
    result.sequences.push_back(sequence);
    if (sequence->sampling.prompt_logprobs() >= 0) {
      AddScoredRows(entry, index, rows, sequence->sampling.prompt_logprobs(),
                    &result);
    }
    if (entry.sample()) {
      result.sampled.push_back({.entry = index,
                                .row = result.batch.num_rows - 1,
                                .position = sequence->length,
                                .sampling = &sequence->sampling});
    }
  }
  if (result.batch.num_rows > max_rows) {
    return absl::InternalError(
        absl::StrCat("step has too many rows: step=", step.number(),
                     " rows=", result.batch.num_rows, " most=", max_rows));
  }
  return result;
}

}  // namespace caravan::worker
