// The logits that follow prompts, from engines as threads.
#ifndef CARAVAN_TESTS_SUPPORT_PROMPT_LOGITS_H_
#define CARAVAN_TESTS_SUPPORT_PROMPT_LOGITS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "partition/model/model_source.h"
#include "tests/support/engine_plan.h"
#include "tests/support/local_ranks.h"

namespace caravan::testing {

// For each prompt the logits of the token after it: the first shard's, which
// begin with id 0. All prompts lie in the cache at once; each is taken in whole
// by a step of its own.
absl::StatusOr<std::vector<std::vector<float>>> PromptLogits(
    const partition::ModelSource& source, const EnginePlanOptions& options,
    const std::vector<std::vector<int32_t>>& prompts,
    LocalRanks::MakeBackend make_backend = nullptr);

// `count` prompts of 1 to `longest` ids below `vocab_size`.
std::vector<std::vector<int32_t>> RandomPrompts(int count, int longest,
                                                int64_t vocab_size);

// Root of the mean square of a - b over that of b, of all rows together, each
// minus its mean: a constant added to all logits changes no probability. Rows
// of `b` may be longer. Infinite where there is nothing to compare.
double RelativeRms(const std::vector<std::vector<float>>& a,
                   const std::vector<std::vector<float>>& b);

// ln of the probability of `id`.
double LogProbability(absl::Span<const float> logits, int32_t id);

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_PROMPT_LOGITS_H_
