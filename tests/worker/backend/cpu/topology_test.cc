#include "worker/backend/cpu/topology.h"

#include <sched.h>

#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::IsEmpty;

TEST(Topology, UsableCoresAreAllowedAndDistinct) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::vector<int> cores, UsableCores());
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  for (int core : cores) EXPECT_TRUE(CPU_ISSET(core, &allowed)) << core;
  EXPECT_EQ(std::set<int>(cores.begin(), cores.end()).size(), cores.size());
}

TEST(Topology, CoresForThreadsAreConsecutiveOrNone) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::vector<int> cores, UsableCores());
  const int count = static_cast<int>(cores.size());
  EXPECT_THAT(CoresForThreads(0, count), testing::IsOkAndHolds(cores));
  EXPECT_THAT(CoresForThreads(count - 1, 1),
              testing::IsOkAndHolds(std::vector<int>{cores.back()}));
  EXPECT_THAT(CoresForThreads(0, count + 1), testing::IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(CoresForThreads(count, 1), testing::IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(CoresForThreads(-1, 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CoresForThreads(0, 0),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(Topology, PinsOnlyToProcessorsThatExist) {
  EXPECT_THAT(PinThisThread(-1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(PinThisThread(1 << 20),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(PinThisThread(CPU_SETSIZE - 1),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(Topology, ProcessorHasAName) { EXPECT_FALSE(ProcessorName().empty()); }

}  // namespace
}  // namespace caravan::worker
