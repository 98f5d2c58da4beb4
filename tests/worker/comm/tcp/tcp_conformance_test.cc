// Every case of the conformance suite over TCP.
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/communicator_suite.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/tcp/tcp_test_worlds.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::CommunicatorCase;
using ::caravan::testing::CommunicatorCases;

class TcpConformanceTest
    : public ::testing::TestWithParam<std::tuple<CommunicatorCase, int>> {};

TEST_P(TcpConformanceTest, Passes) {
  const auto& [communicator_case, size] = GetParam();
  const auto worlds = JoinTcpWorlds(size);
  for (const auto& world : worlds) CARAVAN_ASSERT_OK(world);
  std::vector<absl::Status> results(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank, &test = communicator_case] {
      results[rank] =
          ::caravan::testing::RunCommunicatorCase(test, **worlds[rank]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) CARAVAN_EXPECT_OK(result);
}

INSTANTIATE_TEST_SUITE_P(
    Ranks, TcpConformanceTest,
    ::testing::Combine(::testing::ValuesIn(CommunicatorCases().begin(),
                                           CommunicatorCases().end()),
                       ::testing::Range(1, 7)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) + "Of" +
             std::to_string(std::get<1>(info.param));
    });

}  // namespace
}  // namespace caravan::worker
