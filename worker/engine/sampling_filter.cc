#include "worker/engine/sampling_filter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "worker/backend/sampling.h"

namespace caravan::worker {
namespace {

// Length of the prefix of `kept` that top_p leaves, at least 1; 0 when even the
// whole of it does not reach top_p's share of `total`.
size_t NucleusLength(absl::Span<const Candidate> kept, uint64_t total,
                     const v1::SamplingParameters& sampling) {
  const double share =
      static_cast<double>(sampling.top_p()) * static_cast<double>(total);
  uint64_t mass = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    mass +=
        ProbabilityMass(kept[i].value, kept[0].value, sampling.temperature());
    if (static_cast<double>(mass) >= share) return i + 1;
  }
  return 0;
}

uint64_t TotalMass(absl::Span<const Candidate> kept, float temperature) {
  uint64_t total = 0;
  for (const Candidate& candidate : kept) {
    total += ProbabilityMass(candidate.value, kept[0].value, temperature);
  }
  return total;
}

}  // namespace

bool HasFilter(const v1::SamplingParameters& sampling) {
  return sampling.temperature() > 0 &&
         (sampling.top_k() > 0 || sampling.top_p() < 1 || sampling.min_p() > 0);
}

float LeastLogit(const v1::SamplingParameters& sampling, float largest) {
  if (sampling.min_p() <= 0) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(
      largest +
      sampling.temperature() * std::log(static_cast<double>(sampling.min_p())));
}

std::optional<int32_t> ChooseFiltered(const FilterInput& input,
                                      const v1::SamplingParameters& sampling) {
  absl::Span<const Candidate> kept = input.top;
  bool bounded = input.complete;
  const float least = LeastLogit(sampling, kept[0].value);
  const auto below =
      std::find_if(kept.begin(), kept.end(),
                   [least](const Candidate& c) { return c.value < least; });
  if (below != kept.end()) {
    kept = kept.subspan(0, below - kept.begin());
    bounded = true;
  }
  const size_t top_k = static_cast<size_t>(sampling.top_k());
  if (top_k > 0 && top_k <= kept.size()) {
    kept = kept.subspan(0, top_k);
    bounded = true;
  }
  if (sampling.top_p() < 1) {
    if (top_k > 0 && !bounded) return std::nullopt;
    const uint64_t total =
        top_k > 0 ? TotalMass(kept, sampling.temperature()) : input.total_mass;
    const size_t length = NucleusLength(kept, total, sampling);
    if (length > 0) {
      kept = kept.subspan(0, length);
      bounded = true;
    }
  }
  if (!bounded) return std::nullopt;

  Candidate best;
  for (const Candidate& candidate : kept) {
    const float value =
        candidate.value / sampling.temperature() +
        GumbelNoise(sampling.seed(), input.position, candidate.id);
    if (best.id < 0 || value > best.value ||
        (value == best.value && candidate.id < best.id)) {
      best = {candidate.id, value};
    }
  }
  return best.id;
}

}  // namespace caravan::worker
