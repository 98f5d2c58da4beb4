// One rank with a GPU as a process of its own, for nccl_processes_test.py:
//   nccl_rank RANK suite|all-reduce|all-reduce-by-chunks|messages
// It says "endpoint E", reads the endpoints of all ranks as one line, and runs
// the conformance suite or works for ever: then it says "running" after the
// first operation and "ended STATUS" when one fails, and waits to be killed.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "tests/conformance/communicator_suite.h"
#include "tests/worker/comm/nccl/on_device_world.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/comm/nccl/nccl_world.h"
#include "worker/comm/tcp/tcp_world.h"

namespace caravan::worker {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(2);

void Say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

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
    if (operation != "messages") {
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
  CARAVAN_ASSIGN_OR_RETURN(TcpListener listener,
                           TcpListener::Open("127.0.0.1"));
  Say(absl::StrCat("endpoint ", listener.endpoint()));
  std::string line;
  std::getline(std::cin, line);
  CARAVAN_ASSIGN_OR_RETURN(
      std::unique_ptr<TcpWorld> host,
      JoinTcpWorld(std::move(listener), {.rank = rank,
                                         .endpoints = absl::StrSplit(line, ' '),
                                         .secret = "secret"}));
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<cuda::DeviceContext> made,
                           cuda::DeviceContext::Create({}));
  const std::shared_ptr<cuda::DeviceContext> context = std::move(made);
  const auto world = MakeNcclWorld(context, std::move(host), absl::Seconds(30));
  if (task == "suite") return RunSuite(context, *world);
  const absl::Status status = Work(task, *context, *world);
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
