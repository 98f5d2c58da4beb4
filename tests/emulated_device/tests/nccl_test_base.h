// Ranks of the emulated NCCL as threads, for its tests.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_TESTS_NCCL_TEST_BASE_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_TESTS_NCCL_TEST_BASE_H_

#include <nccl.h>

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "tests/emulated_device/nccl/nccl_control.h"
#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {

constexpr auto kPause = std::chrono::microseconds(50);
constexpr auto kDeadline = std::chrono::seconds(20);
constexpr auto kLongEnough = std::chrono::milliseconds(20);

// Polls; whether it became true before the time was up.
inline bool Becomes(const std::function<bool()>& condition,
                    std::chrono::steady_clock::duration time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

inline ncclUniqueId NewId() {
  ncclUniqueId id;
  EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  return id;
}

// What a rank has: its device is current, its communicator ready.
struct Rank {
  int rank = 0;
  int size = 0;
  ncclComm_t communicator = nullptr;
  cudaStream_t stream = nullptr;

  ncclResult_t State() const {
    ncclResult_t state = ncclInternalError;
    ncclCommGetAsyncError(communicator, &state);
    return state;
  }
  bool IsDone() const { return cudaStreamQuery(stream) != cudaErrorNotReady; }
  bool Finishes() const {
    return Becomes([this] { return IsDone(); }, kDeadline);
  }
  bool StaysBusy() const {
    return !Becomes([this] { return IsDone(); }, kLongEnough);
  }
};

inline void RunRank(int rank, int size, const ncclUniqueId& id,
                    const std::function<void(Rank&)>& body) {
  cudaSetDevice(rank);
  Rank self = {.rank = rank, .size = size};
  ASSERT_EQ(ncclCommInitRank(&self.communicator, size, id, rank), ncclSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&self.stream, cudaStreamNonBlocking),
            cudaSuccess);
  body(self);
  cudaStreamDestroy(self.stream);
}

class NcclTest : public DeviceTest {
 protected:
  void SetUp() override {
    SetNcclTransport(NcclTransport::kPeer);
    InjectNcclFault(NcclFault::kNone, 0, 0);
    DeviceTest::SetUp();
    // ThreadSanitizer does not see how the emulation, which is built without it,
    // guards what is made at first use: here, before there are threads.
    int size = 0;
    EXPECT_EQ(ncclCommCount(nullptr, &size), ncclInvalidArgument);
  }
  void TearDown() override {
    for (int device = 3; device >= 0; --device) {
      cudaSetDevice(device);
      cudaDeviceReset();
    }
    DeviceTest::TearDown();
  }
  void RunThreads(int size, const std::function<void(Rank&)>& body) {
    const ncclUniqueId id = NewId();
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) {
      threads.emplace_back([=] { RunRank(rank, size, id, body); });
    }
    for (std::thread& thread : threads) thread.join();
  }
};

// Rank r's value i.
inline float Value(int rank, size_t i) {
  return static_cast<float>(rank + 1) * static_cast<float>(i % 100);
}
inline std::vector<float> Values(int rank, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = Value(rank, i);
  return values;
}

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_TESTS_NCCL_TEST_BASE_H_
