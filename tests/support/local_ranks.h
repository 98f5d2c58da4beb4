// All ranks of a replica as threads of the test: real engines, no processes.
#ifndef CARAVAN_TESTS_SUPPORT_LOCAL_RANKS_H_
#define CARAVAN_TESTS_SUPPORT_LOCAL_RANKS_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "caravan/v1/plan.pb.h"
#include "caravan/v1/step.pb.h"
#include "partition/model/model_source.h"
#include "worker/backend/backend.h"

namespace caravan::testing {

// One thread uses it. Ends its threads when deleted.
class LocalRanks final {
 public:
  using MakeBackend =
      std::function<absl::StatusOr<std::unique_ptr<worker::Backend>>(
          const v1::RankPlan& rank)>;

  // Loads on all ranks. `source` and `plan` outlive this. Each rank makes its
  // backend in its thread; null: the CPU's. Only groups of one suit another.
  static absl::StatusOr<std::unique_ptr<LocalRanks>> Start(
      const partition::ModelSource& source, const v1::EnginePlan& plan,
      MakeBackend make_backend = nullptr);
  ~LocalRanks();

  // Hands the step to every rank; does not wait.
  void Issue(const v1::Step& step);
  // The next result of the last stage, in order of steps, or the first error.
  absl::StatusOr<v1::StepResult> NextResult();

  // The first shard's logits of every piece that the last stage sampled from
  // since the last call, one after another. Call when no step is in flight.
  std::vector<float> TakeLogits();

 private:
  class Impl;
  explicit LocalRanks(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_LOCAL_RANKS_H_
