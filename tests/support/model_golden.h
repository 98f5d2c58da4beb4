// A model's reference numbers, made by tests/goldens/make_model_goldens.py, and
// the check of one rank's engine against them.
#ifndef CARAVAN_TESTS_SUPPORT_MODEL_GOLDEN_H_
#define CARAVAN_TESTS_SUPPORT_MODEL_GOLDEN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "caravan/v1/plan.pb.h"
#include "caravan/v1/step.pb.h"
#include "worker/backend/backend.h"
#include "worker/engine/model_executor.h"

namespace caravan::testing {

// Largest error of a logit over the largest logit, in float32.
inline constexpr double kLogitTolerance = 2e-4;
// With keys and values in float16, of which each is up to 2^-12 of it
// off: 1.4e-3 is seen. (bfloat16 is 8 times as far off, enough for other greedy
// tokens.)
inline constexpr double kFloat16CacheTolerance = 2e-3;

struct ModelGolden {
  std::vector<int32_t> prompt;
  std::vector<int32_t> greedy;
  // (num_logit_rows, vocab_size): at the last prompt position and the positions
  // of the tokens generated next.
  std::vector<float> logits;
  int64_t num_logit_rows = 0;
  int64_t vocab_size = 0;
};

// The random models of tests/goldens/models that come with their weights.
const std::vector<std::string>& SmallGoldenModels();

// "tests/goldens/models/<name>", relative to the working directory of all
// tests.
std::string GoldenFolder(const std::string& name);

absl::StatusOr<ModelGolden> LoadGolden(const std::string& folder);

// The steps that prefill the prompt in chunks and decode the rest, as all ranks
// of a group execute them.
std::vector<v1::Step> GoldenSteps(const ModelGolden& golden, int64_t chunk);

// On which rank, and what is allowed of it.
struct GoldenCheck {
  const v1::RankPlan* rank;
  double logit_tolerance = kLogitTolerance;
};

// Runs the steps on one rank, whose executor uses the backend. On ranks of the
// last stage checks this shard's logits and the tokens; kDataLoss says what
// differs.
absl::Status CheckGolden(const ModelGolden& golden, const GoldenCheck& on,
                         worker::Backend& backend,
                         worker::ModelExecutor& executor);

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_MODEL_GOLDEN_H_
