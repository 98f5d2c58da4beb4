#include "tests/support/golden_rank.h"

#include <algorithm>
#include <memory>

#include "base/status_macros.h"
#include "partition/model/model_source.h"
#include "tests/support/model_golden.h"
#include "worker/engine/model_executor.h"

namespace caravan::testing {

absl::Status RunGoldenRank(const GoldenRank& rank, worker::Backend& backend,
                           worker::World& world) {
  const std::string& path =
      rank.model_path.empty() ? rank.golden_folder : rank.model_path;
  CARAVAN_ASSIGN_OR_RETURN(ModelGolden golden, LoadGolden(rank.golden_folder));
  golden.greedy.resize(std::min(golden.greedy.size(), rank.most_tokens));
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<partition::ModelSource> source,
                           partition::OpenModel({.path = path}));
  CARAVAN_ASSIGN_OR_RETURN(const v1::EnginePlan plan,
                           MakeEnginePlan(source->spec(), rank.plan));
  if (plan.ranks_size() != world.size()) {
    return absl::InvalidArgumentError("the world is not TP * PP ranks");
  }
  CARAVAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<worker::ModelExecutor> executor,
      worker::ModelExecutor::Create({.plan = &plan,
                                     .rank = world.rank(),
                                     .source = source.get(),
                                     .backend = &backend,
                                     .world = &world}));
  if (rank.on_loaded) rank.on_loaded();
  CARAVAN_RETURN_IF_ERROR(
      Annotate(CheckGolden(golden,
                           {.rank = &plan.ranks(world.rank()),
                            .logit_tolerance = rank.logit_tolerance},
                           backend, *executor),
               rank.golden_folder));
  if (rank.on_passed) rank.on_passed();
  return absl::OkStatus();
}

}  // namespace caravan::testing
