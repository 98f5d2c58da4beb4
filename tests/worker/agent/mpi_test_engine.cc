// Stands for the engine in the agent's tests of mpirun: joins the world, writes
// a progress page, proves by one all-reduce that all ranks talk, and stays
// until it is killed.
#include <mpi.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/engine_environment.h"
#include "base/progress_page.h"

namespace {

uint64_t Number(const char* variable) {
  const char* text = std::getenv(variable);
  uint64_t value = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &value)) std::exit(7);
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const char* folder = std::getenv(caravan::kProgressFolderVariable);
  const char* node = std::getenv(caravan::kNodeVariable);
  if (folder == nullptr || node == nullptr) return 7;
  const auto page =
      caravan::ProgressWriter::Create(folder, Number(caravan::kReplicaVariable),
                                      Number(caravan::kEpochVariable), rank);
  if (!page.ok()) return 7;
  // Some megabytes, so that interface counters show which way they take.
  std::vector<int> bulk(1 << 21, 1);
  MPI_Allreduce(MPI_IN_PLACE, bulk.data(), static_cast<int>(bulk.size()),
                MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  if (bulk.back() != size) return 8;
  int sum = 0;
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  // The agent's tests read the sum where a real engine tells its step.
  (*page)->SetStep(static_cast<uint64_t>(1000 + sum));
  (*page)->SetPhase(caravan::EnginePhase::kIdle);
  std::fprintf(stderr, "rank %d of %d on %s\n", rank, size, node);
  while (true) pause();
}
