#include "partition/plan/layer_fit.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "base/status_macros.h"

namespace caravan::partition {
namespace {

constexpr int64_t kImpossible = std::numeric_limits<int64_t>::max();

// Of a stage with so many layers.
int64_t CostOf(const StageCosts& costs, int stage, int pp, int64_t num_layers) {
  return num_layers * costs.layer + (stage == 0 ? costs.embedding : 0) +
         (stage == pp - 1 ? costs.head : 0);
}

class Fitter {
 public:
  Fitter(const ModelSpec& spec, int pp, StageFits fits)
      : num_layers_(spec.num_layers),
        pp_(pp),
        costs_(CostsOf(spec)),
        fits_(fits) {}

  bool AllFit(const std::vector<Range>& stages) const {
    for (int stage = 0; stage < pp_; ++stage) {
      if (!fits_(stage, stages[stage])) return false;
    }
    return true;
  }

  // Nothing: no division fits.
  std::optional<std::vector<Range>> Best() const {
    std::vector<std::vector<Divided>> divided;
    for (int stage = 0; stage < pp_; ++stage) {
      divided.push_back(
          AddStage(stage, stage == 0 ? std::vector<Divided>{{.dearest = 0}}
                                     : divided.back()));
    }
    if (divided.back()[num_layers_].dearest == kImpossible) return std::nullopt;
    std::vector<Range> stages(pp_);
    int64_t end = num_layers_;
    for (int stage = pp_ - 1; stage >= 0; --stage) {
      stages[stage] = {divided[stage][end].last_begin, end};
      end = stages[stage].begin;
    }
    return stages;
  }

 private:
  // How the first layers are divided best among some stages.
  struct Divided {
    int64_t dearest = kImpossible;  // cost of the dearest of these stages
    int64_t last_begin = 0;         // of the last of them
  };

  // `before`: by number of layers, among the stages before this one.
  std::vector<Divided> AddStage(int stage,
                                const std::vector<Divided>& before) const {
    std::vector<Divided> with(num_layers_ + 1);
    for (size_t begin = 0; begin < before.size(); ++begin) {
      if (before[begin].dearest == kImpossible) continue;
      const int64_t first = static_cast<int64_t>(begin);
      for (int64_t end = FurthestEnd(stage, first); end > first; --end) {
        const int64_t dearest = std::max(
            before[begin].dearest, CostOf(costs_, stage, pp_, end - first));
        if (dearest < with[end].dearest) with[end] = {dearest, first};
      }
    }
    return with;
  }

  // `begin` where not even one layer fits. Leaves each later stage one.
  int64_t FurthestEnd(int stage, int64_t begin) const {
    int64_t end = begin;
    int64_t beyond = num_layers_ - (pp_ - 1 - stage) + 1;  // does not fit
    while (end + 1 < beyond) {
      const int64_t middle = end + (beyond - end) / 2;
      (fits_(stage, {begin, middle}) ? end : beyond) = middle;
    }
    return end;
  }

  const int64_t num_layers_;
  const int pp_;
  const StageCosts costs_;
  const StageFits fits_;
};

}  // namespace

absl::StatusOr<std::vector<Range>> FitLayers(const ModelSpec& spec, int pp,
                                             StageFits fits) {
  CARAVAN_ASSIGN_OR_RETURN(std::vector<Range> stages, ShardLayers(spec, pp));
  const Fitter fitter(spec, pp, fits);
  if (fitter.AllFit(stages)) return stages;
  std::optional<std::vector<Range>> best = fitter.Best();
  return best.has_value() ? *std::move(best) : stages;
}

}  // namespace caravan::partition
