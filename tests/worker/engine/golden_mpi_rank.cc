// One rank of a replica under a real mpirun, against the golden numbers:
//   mpirun -n TP*PP golden_mpi_rank TP PP
// runs every small model, and SmolLM2 where it is, and exits 0 when each rank
// of the last stage found what transformers computes.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "partition/model/model_source.h"
#include "tests/support/engine_plan.h"
#include "tests/support/model_golden.h"
#include "tests/support/real_model.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/mpi/mpi_world.h"
#include "worker/engine/model_executor.h"

namespace caravan::worker {
namespace {

absl::Status RunModel(const std::string& golden_folder,
                      const std::string& model_path,
                      const testing::EnginePlanOptions& options, World& world) {
  CARAVAN_ASSIGN_OR_RETURN(testing::ModelGolden golden,
                           testing::LoadGolden(golden_folder));
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<partition::ModelSource> source,
                           partition::OpenModel({.path = model_path}));
  CARAVAN_ASSIGN_OR_RETURN(v1::EnginePlan plan,
                           testing::MakeEnginePlan(source->spec(), options));
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend,
                           CreateCpuBackend({}));
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<ModelExecutor> executor,
                           ModelExecutor::Create({.plan = &plan,
                                                  .rank = world.rank(),
                                                  .source = source.get(),
                                                  .backend = backend.get(),
                                                  .world = &world}));
  return Annotate(testing::CheckGolden(golden, plan.ranks(world.rank()),
                                       *backend, *executor),
                  golden_folder);
}

absl::Status Run(int argc, char** argv) {
  if (argc != 3) return absl::InvalidArgumentError("usage: TP PP");
  const testing::EnginePlanOptions options{.tp = std::atoi(argv[1]),
                                           .pp = std::atoi(argv[2]),
                                           .quantization = "none"};
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<World> world, CreateMpiWorld({}));
  if (world->size() != options.tp * options.pp) {
    return absl::InvalidArgumentError("the world is not TP * PP ranks");
  }
  for (const std::string& name : testing::SmallGoldenModels()) {
    const std::string folder = testing::GoldenFolder(name);
    CARAVAN_RETURN_IF_ERROR(RunModel(folder, folder, options, *world));
  }
  const std::string real_model = testing::RealModelFile();
  if (real_model.empty()) {
    std::fprintf(stderr, "%s\n", testing::kNoRealModel);
    return absl::OkStatus();
  }
  return RunModel(testing::GoldenFolder("smollm2_135m"), real_model, options,
                  *world);
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  const absl::Status status = caravan::worker::Run(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  _exit(1);  // the other ranks may be waiting for this one
}
