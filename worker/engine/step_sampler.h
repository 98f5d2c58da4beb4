// The last stage's end of a step: from the residual stream to ids and
// log-probabilities.
#ifndef CARAVAN_WORKER_ENGINE_STEP_SAMPLER_H_
#define CARAVAN_WORKER_ENGINE_STEP_SAMPLER_H_

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "caravan/v1/step.pb.h"
#include "worker/engine/sampler.h"
#include "worker/engine/step_batch.h"
#include "worker/llama/decoder.h"

namespace caravan::worker {

// Computes logits for the rows that need them, at most max_logit_rows at a
// time. One thread; `decoder` outlives it.
class StepSampler final {
 public:
  StepSampler(Decoder* decoder, const Sampler::Options& options)
      : decoder_(*decoder), backend_(*options.backend), sampler_(options) {}

  // The ids of batch.sampled, in order; adds one SequenceResult to `result` for
  // each entry that asked for a token or for scores.
  absl::StatusOr<std::vector<int32_t>> Run(const StepBatch& batch,
                                           v1::StepResult* result);

  // Whether the device can choose all tokens of the step, and nothing else is
  // asked for: then the decoder's step makes the Choices, and FetchChosen and
  // ReadChosen do what Run does, in two halves.
  bool CanChoose(const StepBatch& batch) const;
  // Of batch.sampled, in order.
  static std::vector<CandidateRequest> Choices(const StepBatch& batch);
  // Enqueues what brings the tokens from the set to the host, and adds the
  // results, without their ids.
  absl::Status FetchChosen(const StepBatch& batch, int set,
                           v1::StepResult* result);
  // Waits for that, and completes what it added.
  absl::Status ReadChosen(int set, v1::StepResult* result);

  // For tests: sees each piece of this rank's logits with the rows of the batch
  // that they belong to. Steps whose tokens the device chooses are one piece.
  using Observer =
      std::function<void(const Tensor& logits, absl::Span<const int64_t> rows)>;
  void SetObserver(Observer observer) { observer_ = std::move(observer); }

 private:
  using Results = std::vector<v1::SequenceResult*>;  // of each entry

  absl::StatusOr<Tensor> PieceLogits(absl::Span<const int64_t> rows);
  absl::StatusOr<std::vector<int32_t>> SamplePiece(
      absl::Span<const SampledRow> rows, const Results& results);
  absl::Status ScorePiece(absl::Span<const ScoredRow> rows,
                          const Results& results);

  Decoder& decoder_;
  Backend& backend_;
  Sampler sampler_;
  Observer observer_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_STEP_SAMPLER_H_
