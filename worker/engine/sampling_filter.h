// Which tokens top-k, top-p and min-p leave, and the one that is taken.
#ifndef CARAVAN_WORKER_ENGINE_SAMPLING_FILTER_H_
#define CARAVAN_WORKER_ENGINE_SAMPLING_FILTER_H_

#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "caravan/v1/step.pb.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

// Whether the parameters take tokens away before one is drawn.
bool HasFilter(const v1::SamplingParameters& sampling);

// Least logit that min_p leaves, given the largest: probability at least min_p
// times the likeliest token's. -infinity without min_p.
float LeastLogit(const v1::SamplingParameters& sampling, float largest);

struct FilterInput {
  // The largest logits of the whole vocabulary, falling, the lower id first
  // among equals; `complete` when no token is missing.
  absl::Span<const Candidate> top;
  bool complete = false;
  // With top_p and without top_k: the ProbabilityMass of all tokens that min_p
  // leaves.
  uint64_t total_mass = 0;
  int64_t position = 0;
};

// Filters in the order of vLLM: min-p, top-k, then top-p over the probabilities
// renormalised among those left. Among the survivors the largest logit /
// temperature + Gumbel noise wins. nullopt: `top` is too short to tell.
std::optional<int32_t> ChooseFiltered(const FilterInput& input,
                                      const v1::SamplingParameters& sampling);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_SAMPLING_FILTER_H_
