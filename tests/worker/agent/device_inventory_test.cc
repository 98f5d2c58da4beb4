#include "worker/agent/device_inventory.h"

#include <unistd.h>

#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

TEST(DeviceInventoryTest, FindsThisMachine) {
  const CpuInventory cpu = FindCpu();
  EXPECT_GE(cpu.num_cores, 1);
  EXPECT_LE(cpu.num_cores, sysconf(_SC_NPROCESSORS_CONF));
  EXPECT_GT(cpu.memory_bytes, 1 << 20);
  EXPECT_FALSE(cpu.name.empty());
}

}  // namespace
}  // namespace caravan::worker
