// One rank of a replica on GPUs as a process of its own, against the golden
// numbers, for golden_nccl_test.py:
//   golden_nccl_rank RANK TPxPP
// meets the others (rank_process.h) and runs small models. It says "passed"
// where it found what transformers computes, and goes on to the next when it
// reads a line: all have passed. Decode steps are replayed as CUDA graphs.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "tests/support/golden_rank.h"
#include "tests/support/model_golden.h"
#include "tests/worker/comm/nccl/rank_process.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace caravan::worker {
namespace {

void WaitForAll() {
  Say("passed");
  std::string line;
  std::getline(std::cin, line);
}

absl::Status Run(int rank, const char* degrees) {
  testing::EnginePlanOptions plan = {.quantization = "none"};
  if (std::sscanf(degrees, "%dx%d", &plan.tp, &plan.pp) != 2) {
    return absl::InvalidArgumentError("usage: RANK TPxPP");
  }
  CARAVAN_ASSIGN_OR_RETURN(const RankProcess process, MeetRanks(rank));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<Backend> backend,
      CreateCudaBackend(process.context, {.deterministic = true}));
  for (const char* name : {"multi_head", "grouped_8_to_1", "heads_6_kv_3"}) {
    CARAVAN_RETURN_IF_ERROR(
        testing::RunGoldenRank({.golden_folder = testing::GoldenFolder(name),
                                .plan = plan,
                                .on_passed = &WaitForAll},
                               *backend, *process.world));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::Status status = caravan::worker::Run(std::atoi(argv[1]), argv[2]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  _exit(1);  // the other ranks may be waiting for this one
}
