#include "worker/engine/device_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "worker/agent/gpu_inventory.h"

namespace caravan::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(DeviceReport, SaysWhatAnAgentReads) {
  const CudaDeviceList list = {.driver = "13.0",
                               .devices = {{.uuid = "GPU-1",
                                            .name = "NVIDIA \xff H100",
                                            .pci_address = "0000:01:00.0",
                                            .compute_capability = "9.0",
                                            .memory_bytes = int64_t{80} << 30,
                                            .peers = {"GPU-2"},
                                            .broken_peers = {"GPU-3", "GPU-4"}},
                                           {.uuid = "GPU-2"}}};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const GpuInventory inventory,
                               ParseGpuInventory(DeviceReport(list)));
  EXPECT_EQ(inventory.driver, "13.0");
  EXPECT_THAT(inventory.problem, IsEmpty());
  ASSERT_THAT(inventory.gpus, SizeIs(2));
  const Gpu& gpu = inventory.gpus[0];
  EXPECT_EQ(gpu.uuid, "GPU-1");
  EXPECT_EQ(gpu.name, "NVIDIA \xef\xbf\xbd H100");  // U+FFFD
  EXPECT_EQ(gpu.pci_address, "0000:01:00.0");
  EXPECT_EQ(gpu.compute_capability, "9.0");
  EXPECT_EQ(gpu.memory_bytes, int64_t{80} << 30);
  EXPECT_THAT(gpu.peers, ElementsAre("GPU-2"));
  EXPECT_THAT(gpu.broken_peers, ElementsAre("GPU-3", "GPU-4"));
}

TEST(DeviceReport, SaysWhyThereIsNone) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const GpuInventory inventory,
      ParseGpuInventory(
          DeviceReport(absl::FailedPreconditionError("no driver"))));
  EXPECT_EQ(inventory.problem, "no driver");
  EXPECT_THAT(inventory.gpus, IsEmpty());
}

}  // namespace
}  // namespace caravan::worker
