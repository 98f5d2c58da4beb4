#include "worker/engine/step_sampler.h"

#include <algorithm>
#include <iterator>

#include "base/status_macros.h"

namespace caravan::worker {
namespace {

// Adds a result for each entry that asked for something, in order of entries.
std::vector<v1::SequenceResult*> AddResults(const StepBatch& batch,
                                            v1::StepResult* result) {
  std::vector<bool> wanted(batch.sequences.size(), false);
  for (const SampledRow& row : batch.sampled) wanted[row.entry] = true;
  for (const ScoredRow& row : batch.scored) wanted[row.entry] = true;
  std::vector<v1::SequenceResult*> results(batch.sequences.size(), nullptr);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i]) continue;
    results[i] = result->add_sequences();
    results[i]->set_sequence(batch.sequences[i]->number);
  }
  return results;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> StepSampler::Run(const StepBatch& batch,
                                                      v1::StepResult* result) {
  const Results results = AddResults(batch, result);
  const size_t piece = static_cast<size_t>(decoder_.max_logit_rows());
  std::vector<int32_t> ids;
  const absl::Span<const SampledRow> sampled(batch.sampled);
  for (size_t i = 0; i < sampled.size(); i += piece) {
    CARAVAN_ASSIGN_OR_RETURN(std::vector<int32_t> some,
                             SamplePiece(sampled.subspan(i, piece), results));
    ids.insert(ids.end(), some.begin(), some.end());
  }
  const absl::Span<const ScoredRow> scored(batch.scored);
  for (size_t i = 0; i < scored.size(); i += piece) {
    CARAVAN_RETURN_IF_ERROR(ScorePiece(scored.subspan(i, piece), results));
  }
  return ids;
}

bool StepSampler::CanChoose(const StepBatch& batch) const {
  if (batch.sampled.empty() || !batch.scored.empty()) return false;
  return std::all_of(batch.sampled.begin(), batch.sampled.end(),
                     [](const SampledRow& row) {
                       return row.sampling->logprobs() < 0 &&
                              Sampler::CanChoose(*row.sampling);
                     });
}

std::vector<CandidateRequest> StepSampler::Choices(const StepBatch& batch) {
  std::vector<CandidateRequest> choices;
  for (const SampledRow& row : batch.sampled) {
    choices.push_back(Sampler::ToChoice(
        {.row = row.row, .position = row.position, .sampling = row.sampling}));
  }
  return choices;
}

absl::Status StepSampler::FetchChosen(const StepBatch& batch, int set,
                                      v1::StepResult* result) {
  AddResults(batch, result);
  if (observer_) {
    std::vector<int64_t> rows;
    for (const SampledRow& row : batch.sampled) rows.push_back(row.row);
    observer_(decoder_.LogitsOfChoices(std::ssize(rows)), rows);
  }
  return backend_.FetchTokens(set, std::ssize(batch.sampled));
}

absl::Status StepSampler::ReadChosen(int set, v1::StepResult* result) {
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                           sampler_.ReadChosen(set, result->sequences_size()));
  for (size_t i = 0; i < ids.size(); ++i) {
    result->mutable_sequences(static_cast<int>(i))->set_id(ids[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<Tensor> StepSampler::PieceLogits(
    absl::Span<const int64_t> rows) {
  CARAVAN_ASSIGN_OR_RETURN(Tensor logits, decoder_.Logits(rows));
  if (observer_) observer_(logits, rows);
  return logits;
}

absl::StatusOr<std::vector<int32_t>> StepSampler::SamplePiece(
    absl::Span<const SampledRow> rows, const Results& results) {
  std::vector<SampleRequest> requests;
  std::vector<int64_t> batch_rows;
  for (const SampledRow& row : rows) {
    requests.push_back({.row = std::ssize(requests),
                        .position = row.position,
                        .sampling = row.sampling});
    batch_rows.push_back(row.row);
  }
  CARAVAN_ASSIGN_OR_RETURN(const Tensor logits, PieceLogits(batch_rows));
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                           sampler_.Sample(logits, requests));

  std::vector<LogprobRequest> scores;
  std::vector<v1::SequenceResult*> scored_results;
  for (size_t i = 0; i < rows.size(); ++i) {
    results[rows[i].entry]->set_id(ids[i]);
    if (rows[i].sampling->logprobs() < 0) continue;
    scores.push_back({.row = static_cast<int64_t>(i),
                      .id = ids[i],
                      .num_top = rows[i].sampling->logprobs()});
    scored_results.push_back(results[rows[i].entry]);
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<v1::TokenLogprobs> logprobs,
                           sampler_.Logprobs(logits, scores));
  for (size_t i = 0; i < logprobs.size(); ++i) {
    *scored_results[i]->mutable_logprobs() = std::move(logprobs[i]);
  }
  return ids;
}

absl::Status StepSampler::ScorePiece(absl::Span<const ScoredRow> rows,
                                     const Results& results) {
  std::vector<int64_t> batch_rows;
  std::vector<LogprobRequest> requests;
  for (const ScoredRow& row : rows) {
    requests.push_back({.row = static_cast<int64_t>(batch_rows.size()),
                        .id = row.id,
                        .num_top = row.num_top});
    batch_rows.push_back(row.row);
  }
  CARAVAN_ASSIGN_OR_RETURN(Tensor logits, PieceLogits(batch_rows));
  CARAVAN_ASSIGN_OR_RETURN(std::vector<v1::TokenLogprobs> logprobs,
                           sampler_.Logprobs(logits, requests));
  for (size_t i = 0; i < rows.size(); ++i) {
    *results[rows[i].entry]->add_prompt_logprobs() = std::move(logprobs[i]);
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker
