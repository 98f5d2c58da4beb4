// One rank of a replica from its checkpoint to its golden.
#ifndef CARAVAN_TESTS_SUPPORT_GOLDEN_RANK_H_
#define CARAVAN_TESTS_SUPPORT_GOLDEN_RANK_H_

#include <cstddef>
#include <functional>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "tests/support/engine_plan.h"
#include "tests/support/model_golden.h"
#include "tests/support/slowdown.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"

namespace caravan::testing {

struct GoldenRank {
  std::string golden_folder;
  std::string model_path;  // empty: the golden's folder
  EnginePlanOptions plan = {.quantization = "none"};
  double logit_tolerance = kLogitTolerance;
  // That are compared, of those that the golden has; not fewer than it has rows
  // of logits.
  size_t most_tokens = kSlowdown == 1 ? std::numeric_limits<size_t>::max() : 12;
  // Called, if at all, before the first step, and when all is as it should be,
  // before the rank leaves its groups: others may still be sending to it.
  std::function<void()> on_loaded;
  std::function<void()> on_passed;
};

// Plans, loads `world.rank()`'s shard onto the backend and checks it against
// the golden (CheckGolden). Each rank of the world calls it.
absl::Status RunGoldenRank(const GoldenRank& rank, worker::Backend& backend,
                           worker::World& world);

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_GOLDEN_RANK_H_
