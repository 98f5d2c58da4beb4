#include "tests/worker/comm/nccl/nccl_test_ranks.h"

#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "base/status_macros.h"
#include "tests/support/slowdown.h"
#include "tests/worker/comm/tcp/tcp_test_worlds.h"

namespace caravan::worker {
namespace {

absl::Status RunRank(int rank, std::unique_ptr<TcpWorld> host,
                     const std::function<absl::Status(NcclTestRank&)>& body,
                     absl::Duration join_timeout) {
  // Longer than any group's timeout: what a group gives up ends, and is named.
  CARAVAN_ASSIGN_OR_RETURN(
      std::unique_ptr<cuda::DeviceContext> context,
      cuda::DeviceContext::Create(
          {.device = rank, .timeout = absl::Minutes(1) * testing::kSlowdown}));
  NcclTestRank self = {.context = std::move(context)};
  self.world = MakeNcclWorld(self.context, std::move(host), join_timeout);
  return body(self);
}

}  // namespace

std::vector<absl::Status> RunNcclRanks(
    int size, const std::function<absl::Status(NcclTestRank&)>& body,
    absl::Duration join_timeout) {
  auto hosts = JoinTcpWorlds(size);
  std::vector<absl::Status> results(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      absl::StatusOr<std::unique_ptr<TcpWorld>>& host = hosts[rank];
      results[rank] = host.ok()
                          ? RunRank(rank, *std::move(host), body, join_timeout)
                          : host.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

}  // namespace caravan::worker
