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
#include "tests/support/golden_rank.h"
#include "tests/support/model_golden.h"
#include "tests/support/real_model.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/mpi/mpi_world.h"

namespace caravan::worker {
namespace {

absl::Status Run(int argc, char** argv) {
  if (argc != 3) return absl::InvalidArgumentError("usage: TP PP");
  testing::GoldenRank rank = {.plan = {.tp = std::atoi(argv[1]),
                                       .pp = std::atoi(argv[2]),
                                       .quantization = "none"}};
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<World> world, CreateMpiWorld({}));
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend,
                           CreateCpuBackend({}));
  for (const std::string& name : testing::SmallGoldenModels()) {
    rank.golden_folder = testing::GoldenFolder(name);
    CARAVAN_RETURN_IF_ERROR(testing::RunGoldenRank(rank, *backend, *world));
  }
  rank.model_path = testing::RealModelFile();
  if (rank.model_path.empty()) {
    std::fprintf(stderr, "%s\n", testing::kNoRealModel);
    return absl::OkStatus();
  }
  rank.golden_folder = testing::GoldenFolder("smollm2_135m");
  return testing::RunGoldenRank(rank, *backend, *world);
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  const absl::Status status = caravan::worker::Run(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  _exit(1);  // the other ranks may be waiting for this one
}
