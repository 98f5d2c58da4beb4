// Takes the next tokens from logits whose vocabulary is sharded over a group.
#ifndef CARAVAN_WORKER_ENGINE_SAMPLER_H_
#define CARAVAN_WORKER_ENGINE_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "caravan/v1/step.pb.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

// One row of the logits to sample from.
struct SampleRequest {
  int64_t row = 0;       // of `logits`
  int64_t position = 0;  // of the token to be sampled
  const v1::SamplingParameters* sampling = nullptr;
};

// One row of the logits to score a known token with.
struct LogprobRequest {
  int64_t row = 0;
  int32_t id = -1;
  int num_top = 0;
};

// All ranks of the group call alike and get alike. Only candidates travel: a
// few tokens per row, more when a flat distribution needs them, never whole
// logits, with the same result as if one rank held the whole vocabulary. One
// thread.
//
// Where nothing is filtered, the devices can choose without their hosts, within
// a step: CanChoose, ToChoice and ReadChosen.
//
// kInternal: a row whose largest logit is not finite.
class Sampler final {
 public:
  struct Options {
    int64_t vocabulary_begin = 0;  // of this rank's shard
    int64_t vocabulary_size = 0;   // of the whole
    Backend* backend = nullptr;    // both outlive the sampler
    Communicator* group = nullptr;
  };
  explicit Sampler(const Options& options) : options_(options) {}

  absl::StatusOr<std::vector<int32_t>> Sample(
      const Tensor& logits, absl::Span<const SampleRequest> requests);

  // Whether what Sample would give for such a row is one candidate of one rank:
  // that of Backend::ChooseTokens for ToChoice of the request.
  static bool CanChoose(const v1::SamplingParameters& sampling);
  static CandidateRequest ToChoice(const SampleRequest& request);
  // The first ids of a set that has been fetched (Backend::FetchTokens), once
  // they are chosen. An error's row is the slot.
  absl::StatusOr<std::vector<int32_t>> ReadChosen(int set, int64_t count);

  absl::StatusOr<std::vector<v1::TokenLogprobs>> Logprobs(
      const Tensor& logits, absl::Span<const LogprobRequest> requests);

 private:
  // One row's candidates of the whole vocabulary.
  struct Merged {
    std::vector<Candidate> top;  // falling
    bool complete = false;       // holds the whole vocabulary
    Candidate winner;
  };
  absl::StatusOr<std::vector<Merged>> Gather(
      const Tensor& logits, absl::Span<const CandidateRequest> requests);
  absl::StatusOr<std::vector<uint64_t>> GatherMasses(
      const Tensor& logits, absl::Span<const MassRequest> requests);
  absl::StatusOr<std::vector<float>> GatherLogits(
      const Tensor& logits, absl::Span<const LogprobRequest> requests);
  // The total masses that top_p needs of each row (0 where it does not).
  absl::StatusOr<std::vector<uint64_t>> NucleusMasses(
      const Tensor& logits, absl::Span<const SampleRequest> requests,
      absl::Span<const Merged> merged);

  const Options options_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_SAMPLER_H_
