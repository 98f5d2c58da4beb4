#include "worker/backend/cuda/device_list.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

TEST(ListCudaDevices, DescribesAllAndTriesTheirLinks) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const CudaDeviceList list, ListCudaDevices());
  EXPECT_THAT(list.driver, MatchesRegex("1[0-9]\\.[0-9]"));
  const int count = emulated::GetSettings().num_devices;
  ASSERT_THAT(list.devices, SizeIs(count));
  std::set<std::string> uuids;
  for (const CudaDevice& device : list.devices) {
    EXPECT_THAT(device.uuid,
                MatchesRegex("GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"));
    uuids.insert(device.uuid);
    EXPECT_THAT(device.pci_address, MatchesRegex("0000:.*"));
    EXPECT_THAT(device.compute_capability, MatchesRegex("[0-9]+\\.[0-9]"));
    EXPECT_EQ(device.memory_bytes, emulated::GetSettings().memory_bytes);
    EXPECT_THAT(device.peers, SizeIs(count - 1));
    EXPECT_THAT(device.broken_peers, IsEmpty());
  }
  EXPECT_THAT(uuids, SizeIs(count));
}

TEST(ListCudaDevices, NamesALinkThatLosesData) {
  emulated::BreakPeerCopies(0, 1);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const CudaDeviceList list, ListCudaDevices());
  emulated::MendPeerCopies();
  EXPECT_THAT(list.devices[0].broken_peers, ElementsAre(list.devices[1].uuid));
  EXPECT_THAT(list.devices[0].peers, SizeIs(list.devices.size() - 2));
  for (size_t i = 1; i < list.devices.size(); ++i) {
    EXPECT_THAT(list.devices[i].broken_peers, IsEmpty());
  }
}

}  // namespace
}  // namespace caravan::worker
