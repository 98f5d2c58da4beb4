#include "tests/worker/comm/nccl/rank_process.h"

#include <cstdio>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "tests/support/slowdown.h"
#include "worker/comm/nccl/nccl_world.h"
#include "worker/comm/tcp/tcp_world.h"

namespace caravan::worker {

void Say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

absl::StatusOr<RankProcess> MeetRanks(int rank) {
  SetNcclEnvironment();
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
  CARAVAN_ASSIGN_OR_RETURN(
      std::unique_ptr<cuda::DeviceContext> made,
      cuda::DeviceContext::Create(
          {.timeout = absl::Minutes(1) * testing::kSlowdown}));
  RankProcess process = {.context = std::move(made)};
  process.world = MakeNcclWorld(process.context, std::move(host),
                                absl::Seconds(30) * testing::kSlowdown);
  return process;
}

}  // namespace caravan::worker
