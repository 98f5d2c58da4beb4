// One rank with a GPU as a process of its own, for nccl_processes_test.py:
//   nccl_rank RANK suite|all-reduce|all-reduce-by-chunks|all-gather|messages
// meets the others (rank_process.h) and runs the conformance suite or works for
// ever: then it says "running" after the first operation and "ended STATUS"
// when one fails, and waits to be killed.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "tests/conformance/communicator_suite.h"
#include "tests/support/slowdown.h"
#include "tests/worker/comm/nccl/on_device_world.h"
#include "tests/worker/comm/nccl/rank_process.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {
namespace {

constexpr absl::Duration kTimeout =
    absl::Seconds(2 * ::caravan::testing::kSlowdown);

absl::Status RunSuite(std::shared_ptr<cuda::DeviceContext> context,
                      World& world) {
  const auto on_device = MakeOnDeviceWorld(std::move(context), world);
  for (const auto& test : ::caravan::testing::CommunicatorCases()) {
    // See nccl_conformance_test.cc.
    if (test.name == "DifferentCountsAreAnError") continue;
    CARAVAN_RETURN_IF_ERROR(
        ::caravan::testing::RunCommunicatorCase(test, *on_device));
  }
  return absl::OkStatus();
}

absl::Status Work(const std::string& operation, cuda::DeviceContext& context,
                  World& world) {
  GroupOptions options = {.name = "tp0", .timeout = kTimeout};
  options.world_ranks.resize(world.size());
  std::iota(options.world_ranks.begin(), options.world_ranks.end(), 0);
  CARAVAN_ASSIGN_OR_RETURN(auto group, world.CreateGroup(options));
  const int64_t count = operation == "all-reduce-by-chunks" ? 100000 : 5000;
  CARAVAN_ASSIGN_OR_RETURN(const cuda::DeviceMemory memory,
                           cuda::DeviceMemory::Create(count * sizeof(float)));
  const Tensor tensor = {memory.data(), DType::kFloat32, 1, count};
  const int next = (world.rank() + 1) % world.size();
  const int previous = (world.rank() + world.size() - 1) % world.size();
  for (int64_t round = 0;; ++round) {
    if (operation == "all-gather") {
      const int64_t part = count / world.size();
      CARAVAN_RETURN_IF_ERROR(group->AllGatherTensor(
          {memory.data(), DType::kFloat32, world.size(), part}));
    } else if (operation != "messages") {
      CARAVAN_RETURN_IF_ERROR(group->AllReduceSum(tensor));
    } else if (world.rank() == 0) {
      CARAVAN_RETURN_IF_ERROR(group->SendTensor(tensor, next));
      CARAVAN_RETURN_IF_ERROR(group->RecvTensor(tensor, previous));
    } else {
      CARAVAN_RETURN_IF_ERROR(group->RecvTensor(tensor, previous));
      CARAVAN_RETURN_IF_ERROR(group->SendTensor(tensor, next));
    }
    CARAVAN_RETURN_IF_ERROR(context.Wait());
    if (round == 0) Say("running");
  }
}

absl::Status Run(int rank, const std::string& task) {
  CARAVAN_ASSIGN_OR_RETURN(const RankProcess process, MeetRanks(rank));
  if (task == "suite") return RunSuite(process.context, *process.world);
  const absl::Status status = Work(task, *process.context, *process.world);
  Say(absl::StrCat("ended ", status.ToString()));
  pause();
  return status;
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::Status status = caravan::worker::Run(std::atoi(argv[1]), argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
