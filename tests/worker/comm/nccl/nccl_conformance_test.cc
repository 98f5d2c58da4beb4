// The conformance suite over NCCL, ranks as threads.
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/communicator_suite.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/nccl/nccl_test_ranks.h"
#include "tests/worker/comm/nccl/on_device_world.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::CommunicatorCase;
using ::caravan::testing::CommunicatorCases;

std::vector<CommunicatorCase> Cases() {
  std::vector<CommunicatorCase> cases;
  for (const CommunicatorCase& one : CommunicatorCases()) {
    // NCCL does not look at its peers' counts: they never differ, as all ranks
    // make them from the same step.
    if (one.name != "DifferentCountsAreAnError") cases.push_back(one);
  }
  return cases;
}

class NcclConformanceTest
    : public ::testing::TestWithParam<std::tuple<CommunicatorCase, int>> {};

TEST_P(NcclConformanceTest, Passes) {
  const auto& [communicator_case, size] = GetParam();
  const auto results =
      RunNcclRanks(size, [&test = communicator_case](NcclTestRank& self) {
        const auto world = MakeOnDeviceWorld(self.context, *self.world);
        return ::caravan::testing::RunCommunicatorCase(test, *world);
      });
  for (const absl::Status& result : results) CARAVAN_EXPECT_OK(result);
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclConformanceTest,
                         ::testing::Combine(::testing::ValuesIn(Cases()),
                                            ::testing::Range(1, 7)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) +
                                  "Of" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace caravan::worker
