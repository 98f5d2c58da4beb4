// Device memory: limits, guards, who may touch it, what the device tells.
#include <cstring>
#include <vector>

#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {
namespace {

using testing::HasSubstr;

__global__ void WriteAt(float* values, int64_t i) { values[i] = 1; }
__global__ void CopyValue(const float* from, float* to) { *to = *from; }

class MemoryTest : public DeviceTest {
 protected:
  void* Allocate(size_t bytes) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, bytes), cudaSuccess);
    return memory;
  }
};

TEST_F(MemoryTest, NewMemoryIsNan) {
  const DeviceVector<float> values(3);
  EXPECT_THAT(values.Get(), testing::Each(testing::IsNan()));
}

TEST_F(MemoryTest, IsCountedAndLimited) {
  size_t free_before = 0, free_after = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_before, &total), cudaSuccess);
  EXPECT_EQ(total, GetSettings().memory_bytes);
  void* memory = Allocate(1000);
  ASSERT_EQ(cudaMemGetInfo(&free_after, &total), cudaSuccess);
  EXPECT_EQ(free_before - free_after, 1024u);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, total), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(MemoryTest, CallsAreCounted) {
  const MemoryCalls before = MemoryCallsMade();
  const int64_t bytes_before = AllocatedBytes(0);
  void* device = Allocate(1000);
  void* pinned = nullptr;
  ASSERT_EQ(cudaHostAlloc(&pinned, 50, cudaHostAllocDefault), cudaSuccess);
  EXPECT_EQ(AllocatedBytes(0), bytes_before + 1000);
  EXPECT_EQ(cudaMemset(device, 0, 1000), cudaSuccess);
  EXPECT_EQ(MemoryCallsMade(),
            (MemoryCalls{before.allocations + 2, before.releases}));
  void* too_much = nullptr;
  EXPECT_EQ(cudaMalloc(&too_much, GetSettings().memory_bytes + 1),
            cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(MemoryCallsMade(),
            (MemoryCalls{before.allocations + 3, before.releases + 2}));
  EXPECT_EQ(AllocatedBytes(0), bytes_before);
  cudaGetLastError();
}

TEST_F(MemoryTest, ReleasesWhatWasAllocatedOnce) {
  void* memory = Allocate(8);
  EXPECT_EQ(cudaFreeHost(memory), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(static_cast<char*>(memory) + 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  cudaGetLastError();
}

TEST_F(MemoryTest, PointersTellWhatTheyAre) {
  void* device = Allocate(8);
  int host = 0;
  cudaPointerAttributes attributes;
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, device), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  EXPECT_EQ(attributes.device, 0);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &host), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  ASSERT_EQ(cudaHostRegister(&host, sizeof(host), 0), cudaSuccess);
  EXPECT_EQ(cudaHostRegister(&host, sizeof(host), 0),
            cudaErrorHostMemoryAlreadyRegistered);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &host), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  EXPECT_EQ(cudaHostUnregister(&host), cudaSuccess);
  EXPECT_EQ(cudaHostUnregister(&host), cudaErrorHostMemoryNotRegistered);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  cudaGetLastError();
}

TEST_F(MemoryTest, WritingPastABufferIsFound) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer would end the process";
  auto* memory = static_cast<float*>(Allocate(100 * sizeof(float)));
  ASSERT_EQ(Launch(WriteAt, {dim3(1), dim3(1)}, nullptr, memory, 100),
            cudaSuccess);
  // In protected memory when it is freed, unless it hits the closed page.
  cudaDeviceSynchronize();
  EXPECT_EQ(cudaFree(memory), cudaErrorIllegalAddress);
  EXPECT_THAT(TakeFault(), HasSubstr("past a buffer of 400 bytes"));
}

TEST_F(MemoryTest, DevicesAreDescribed) {
  int count = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, GetSettings().num_devices);
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 1), cudaSuccess);
  EXPECT_STREQ(properties.name, "Emulated Device 1");
  int value = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&value,
                                   cudaDevAttrMaxSharedMemoryPerBlockOptin, 0),
            cudaSuccess);
  EXPECT_EQ(static_cast<size_t>(value), properties.sharedMemPerBlockOptin);
  char bus[32];
  ASSERT_EQ(cudaDeviceGetPCIBusId(bus, sizeof(bus), 0), cudaSuccess);
  EXPECT_STREQ(bus, "0000:01:00.0");
  EXPECT_EQ(cudaSetDevice(count), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, -1), cudaErrorInvalidDevice);
  cudaGetLastError();
}

TEST_F(MemoryTest, PeersReachEachOtherAfterPermission) {
  const DeviceVector<float> here(std::vector<float>{4});
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  const DeviceVector<float> there(1);
  ASSERT_EQ(cudaMemcpyPeer(there.data(), 1, here.data(), 0, sizeof(float)),
            cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(there.Get()[0], 4.0f);
  int can = 0;
  ASSERT_EQ(cudaDeviceCanAccessPeer(&can, 1, 0), cudaSuccess);
  EXPECT_EQ(can, 1);
  if (GetSettings().protect_memory) {
    EXPECT_EQ(Run(CopyValue, {dim3(1), dim3(1)}, here.data(), there.data()),
              cudaErrorIllegalAddress);
    cudaDeviceReset();
  }
  ASSERT_EQ(cudaDeviceEnablePeerAccess(0, 0), cudaSuccess);
  EXPECT_EQ(cudaDeviceEnablePeerAccess(0, 0),
            cudaErrorPeerAccessAlreadyEnabled);
  EXPECT_EQ(Run(CopyValue, {dim3(1), dim3(1)}, here.data(), there.data()),
            cudaSuccess);
  EXPECT_EQ(cudaDeviceDisablePeerAccess(0), cudaSuccess);
  EXPECT_EQ(cudaDeviceDisablePeerAccess(0), cudaErrorPeerAccessNotEnabled);
  cudaGetLastError();
}

// In protected mode only, which CTest runs too.
class ProtectedMemoryTest : public MemoryTest {
 protected:
  void SetUp() override {
    if (!GetSettings().protect_memory) {
      GTEST_SKIP() << "CARAVAN_EMULATED_PROTECT is not set";
    }
    MemoryTest::SetUp();
  }
};

TEST_F(ProtectedMemoryTest, HostMayNotTouchIt) {
  const DeviceVector<float> values(std::vector<float>{1});
  volatile const float* data = values.data();
  EXPECT_DEATH(static_cast<void>(*data), "which is device memory");
}

TEST_F(ProtectedMemoryTest, KernelMayNotTouchWhatWasFreed) {
  auto* memory = static_cast<float*>(Allocate(8));
  ASSERT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(Run(WriteAt, {dim3(1), dim3(1)}, memory, 0),
            cudaErrorIllegalAddress);
  EXPECT_THAT(TakeFault(), HasSubstr("block (0,0,0) thread (0,0,0)"));
}

TEST_F(ProtectedMemoryTest, KernelMayNotTouchWhatIsBeside) {
  auto* memory = static_cast<float*>(Allocate(256));
  EXPECT_EQ(Run(WriteAt, {dim3(1), dim3(1)}, memory, 64),
            cudaErrorIllegalAddress);
  TakeFault();
  EXPECT_EQ(Run(WriteAt, {dim3(1), dim3(1)}, memory, -1024),
            cudaErrorIllegalAddress);
  TakeFault();
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
}

}  // namespace
}  // namespace caravan::emulated
