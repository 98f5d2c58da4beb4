// One rank of the conformance suite over MPI: runs all cases (or the one named
// on the command line) and exits with 1 when one fails.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "absl/strings/string_view.h"
#include "tests/conformance/communicator_suite.h"
#include "worker/comm/mpi/mpi_world.h"

namespace caravan::worker {
namespace {

int RunRank(absl::string_view only) {
  absl::StatusOr<std::unique_ptr<World>> world = CreateMpiWorld({});
  if (!world.ok()) {
    std::fprintf(stderr, "%s\n", world.status().ToString().c_str());
    return 1;
  }
  for (const auto& test : ::caravan::testing::CommunicatorCases()) {
    if (!only.empty() && test.name != only) continue;
    const absl::Status status =
        ::caravan::testing::RunCommunicatorCase(test, **world);
    if (status.ok()) continue;
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    _exit(1);
  }
  return 0;
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  return caravan::worker::RunRank(argc > 1 ? argv[1] : "");
}
