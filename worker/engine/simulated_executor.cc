#include "worker/engine/simulated_executor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/simulated_token.h"
#include "base/status_macros.h"
#include "worker/engine/step_batch.h"

namespace caravan::worker {

absl::StatusOr<std::unique_ptr<SimulatedExecutor>> SimulatedExecutor::Create(
    const v1::EnginePlan& plan) {
  const v1::SimulatedTiming& timing = plan.model().simulated();
  if (timing.vocabulary_size() <= 0 || timing.microseconds_per_step() < 0 ||
      timing.microseconds_per_row() < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no valid timing for a simulated engine: ", timing.ShortDebugString()));
  }
  return std::unique_ptr<SimulatedExecutor>(new SimulatedExecutor(plan));
}

SimulatedExecutor::SimulatedExecutor(const v1::EnginePlan& plan)
    : timing_(plan.model().simulated()),
      max_rows_(plan.max_rows_per_step()),
      sequences_(plan.num_blocks(), plan.max_model_len()) {}

absl::Status SimulatedExecutor::Begin(const v1::Step& step) {
  CARAVAN_ASSIGN_OR_RETURN(result_, Run(step));
  return absl::OkStatus();
}

absl::StatusOr<v1::StepResult> SimulatedExecutor::Finish() {
  return std::move(result_);
}

absl::StatusOr<v1::StepResult> SimulatedExecutor::Run(const v1::Step& step) {
  if (step.number() != last_step_ + 1) {
    return absl::InternalError(absl::StrCat(
        "step out of order: step=", step.number(), " last=", last_step_));
  }
  last_step_ = step.number();
  v1::StepResult result;
  result.set_epoch(step.epoch());
  result.set_number(step.number());
  CARAVAN_RETURN_IF_ERROR(sequences_.Begin(step));
  CARAVAN_ASSIGN_OR_RETURN(StepBatch batch,
                           MakeStepBatch(step, sequences_, max_rows_));
  if (batch.batch.num_rows == 0) return result;
  absl::SleepFor(absl::Microseconds(timing_.microseconds_per_step() +
                                    timing_.microseconds_per_row() *
                                        batch.batch.num_rows));

  for (int i = 0; i < step.entries_size(); ++i) {
    const v1::StepEntry& entry = step.entries(i);
    EngineSequence& sequence = *batch.sequences[i];
    if (!entry.ids().empty()) {
      sequence.last_id = entry.ids(entry.ids_size() - 1);
    }
    const bool scores = sequence.sampling.prompt_logprobs() >= 0 &&
                        (entry.ids_size() > 1 || entry.has_next_id());
    if (!entry.sample() && !scores) continue;
    v1::SequenceResult* sampled = result.add_sequences();
    sampled->set_sequence(entry.sequence());
    if (!entry.sample()) continue;
    sequence.last_id = SimulatedToken(sequence.last_id, sequence.length,
                                      timing_.vocabulary_size());
    sampled->set_id(sequence.last_id);
    // It always takes the one token: its probability is 1.
    if (sequence.sampling.logprobs() >= 0) {
      sampled->mutable_logprobs()->set_id(sequence.last_id);
    }
  }
  for (const ScoredRow& row : batch.scored) {
    for (v1::SequenceResult& scored : *result.mutable_sequences()) {
      if (scored.sequence() != step.entries(row.entry).sequence()) continue;
      scored.add_prompt_logprobs()->set_id(row.id);
    }
  }
  return result;
}

}  // namespace caravan::worker
