#include "worker/backend/cpu/machine_probe.h"

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

// What a speed is nobody knows; one that no machine has would show that the
// compiler left the work out.
TEST(MachineProbeTest, MeasuresWithEveryNumberOfThreads) {
  for (const int num_threads : {1, 3}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const auto pool, ThreadPool::Create({.num_threads = num_threads}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto probe, MachineProbe::Create(*pool));
    for (int i = 0; i < 2; ++i) {
      for (const double value : {probe->ReadBandwidth(), probe->FmaPeak()}) {
        EXPECT_GT(value, 0);
        EXPECT_LT(value, 1e15);
      }
    }
  }
}

}  // namespace
}  // namespace caravan::worker
