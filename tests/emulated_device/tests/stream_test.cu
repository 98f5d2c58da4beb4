// Streams, events and copies: in order, lazy, and strict about what is not so.
#include <chrono>
#include <thread>
#include <vector>

#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {
namespace {

using testing::HasSubstr;

__global__ void Add(float* values, float term, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) values[i] += term;
}

class StreamTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    for (cudaStream_t* stream : {&a_, &b_}) {
      ASSERT_EQ(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking),
                cudaSuccess);
    }
    ASSERT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming),
              cudaSuccess);
    void* memory = nullptr;
    ASSERT_EQ(cudaMallocHost(&memory, 64 * sizeof(float)), cudaSuccess);
    pinned_ = static_cast<float*>(memory);
    pinned_[0] = -1;
  }
  void TearDown() override {
    EXPECT_EQ(cudaFreeHost(pinned_), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(event_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(a_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(b_), cudaSuccess);
    DeviceTest::TearDown();
  }
  cudaError_t AddOne(cudaStream_t stream) {
    return Launch(Add, {dim3(1), dim3(64)}, stream, values_.data(), 1.0f, 64);
  }
  cudaError_t Read(cudaStream_t stream) {
    return cudaMemcpyAsync(pinned_, values_.data(), sizeof(float),
                           cudaMemcpyDeviceToHost, stream);
  }

  const DeviceVector<float> values_{std::vector<float>(64, 1.0f)};
  cudaStream_t a_ = nullptr, b_ = nullptr;
  cudaEvent_t event_ = nullptr;
  float* pinned_ = nullptr;
};

TEST_F(StreamTest, NothingHappensUntilItIsWaitedFor) {
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  ASSERT_EQ(Read(a_), cudaSuccess);
  EXPECT_EQ(pinned_[0], -1.0f);  // a forgotten synchronization shows
  ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 2.0f);
}

TEST_F(StreamTest, EventsOrderStreams) {
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  ASSERT_EQ(Read(b_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(b_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 1.0f);  // a forgotten event shows
  ASSERT_EQ(cudaEventRecord(event_, a_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(b_, event_, 0), cudaSuccess);
  ASSERT_EQ(Read(b_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(b_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 2.0f);
}

TEST_F(StreamTest, EventsTellWhatIsDone) {
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);  // never recorded
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event_, a_), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event_), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
  EXPECT_EQ(values_.Get()[0], 2.0f);
}

TEST_F(StreamTest, ElapsedTimeNeedsTimingEventsThatAreDone) {
  cudaEvent_t begin = nullptr, end = nullptr;
  ASSERT_EQ(cudaEventCreate(&begin), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&end), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(begin, a_), cudaSuccess);
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(end, a_), cudaSuccess);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaErrorNotReady);
  ASSERT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaSuccess);
  EXPECT_GT(milliseconds, 0);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, event_),
            cudaErrorInvalidResourceHandle);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
}

TEST_F(StreamTest, LegacyStreamWaitsForBlockingOnesOnly) {
  cudaStream_t blocking = nullptr;
  ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
  ASSERT_EQ(AddOne(blocking), cudaSuccess);
  EXPECT_EQ(values_.Get()[0], 2.0f);
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  EXPECT_EQ(values_.Get()[0], 2.0f);
  ASSERT_EQ(cudaStreamDestroy(blocking), cudaSuccess);
}

TEST_F(StreamTest, QueriesMakeProgress) {
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(a_), cudaSuccess);
  EXPECT_EQ(values_.Get()[0], 2.0f);
}

TEST_F(StreamTest, HostFunctionsRunInOrder) {
  int seen = 0;
  ASSERT_EQ(Read(a_), cudaSuccess);
  struct Data {
    float* value;
    int* seen;
  } data = {pinned_, &seen};
  ASSERT_EQ(cudaLaunchHostFunc(
                a_,
                [](void* data) {
                  auto* d = static_cast<Data*>(data);
                  *d->seen = static_cast<int>(*d->value);
                },
                &data),
            cudaSuccess);
  EXPECT_EQ(seen, 0);
  ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
  EXPECT_EQ(seen, 1);
}

TEST_F(StreamTest, EveryPolicyKeepsTheOrder) {
  for (const StreamPolicy policy : {StreamPolicy::kEager, StreamPolicy::kRandom,
                                    StreamPolicy::kBackground}) {
    SetStreamPolicy(policy, 5);
    const float before = values_.Get()[0];
    for (int i = 0; i < 5; ++i) ASSERT_EQ(AddOne(a_), cudaSuccess);
    ASSERT_EQ(Read(a_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
    EXPECT_EQ(pinned_[0], before + 5);
  }
}

TEST_F(StreamTest, BackgroundEndsWithItsPolicy) {
  SetStreamPolicy(StreamPolicy::kBackground, 0);
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
  SetStreamPolicy(StreamPolicy::kLazy, 0);
  const int64_t before = KernelsRun();
  ASSERT_EQ(AddOne(a_), cudaSuccess);
  // Many times as long as the background takes to find work.
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  while (KernelsRun() == before && std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
  }
  EXPECT_EQ(KernelsRun(), before);
}

TEST_F(StreamTest, PageableMemoryIsReadAtOnce) {
  std::vector<float> host(64, 7.0f);
  ASSERT_EQ(cudaMemcpyAsync(values_.data(), host.data(), 64 * sizeof(float),
                            cudaMemcpyHostToDevice, a_),
            cudaSuccess);
  host[0] = 8;  // too late to matter
  ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
  EXPECT_EQ(values_.Get()[0], 7.0f);
  pinned_[0] = 9;
  ASSERT_EQ(cudaMemcpyAsync(values_.data(), pinned_, sizeof(float),
                            cudaMemcpyHostToDevice, a_),
            cudaSuccess);
  pinned_[0] = 10;  // a race on a real device; here the copy is last
  ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
  EXPECT_EQ(values_.Get()[0], 10.0f);
}

TEST_F(StreamTest, CopiesStayInTheirAllocations) {
  std::vector<float> host(65);
  const auto copy = [&](void* to, const void* from, size_t floats,
                        cudaMemcpyKind kind) {
    return cudaMemcpy(to, from, floats * sizeof(float), kind);
  };
  float* device = values_.data();
  EXPECT_EQ(copy(device, host.data(), 65, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(copy(device, host.data(), 64, cudaMemcpyDeviceToHost),
            cudaErrorInvalidValue);
  EXPECT_EQ(copy(host.data(), device, 64, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(cudaMemset(device + 1, 0, 64 * sizeof(float)),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(device, 0, 64 * sizeof(float)), cudaSuccess);
  EXPECT_EQ(values_.Get()[63], 0.0f);
  // Three rows of two floats out of rows of four.
  const std::vector<float> rows = {1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0, 0};
  ASSERT_EQ(
      cudaMemcpy2D(device, 2 * sizeof(float), rows.data(), 4 * sizeof(float),
                   2 * sizeof(float), 3, cudaMemcpyHostToDevice),
      cudaSuccess);
  EXPECT_EQ(values_.Get()[5], 6.0f);
  cudaGetLastError();
}

TEST_F(StreamTest, FaultsComeLateAndStay) {
  InjectKernelFault(0, cudaErrorIllegalAddress);
  EXPECT_EQ(AddOne(a_), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(a_), cudaErrorIllegalAddress);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorIllegalAddress);
  EXPECT_EQ(AddOne(b_), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorIllegalAddress),
               "cudaErrorIllegalAddress");
  // Another device is well.
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  cudaSetDevice(0);
  EXPECT_EQ(TakeFault(), "injected fault");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(StreamTest, StreamsAndEventsBelongToADevice) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(AddOne(a_), cudaErrorInvalidResourceHandle);
  cudaEvent_t other = nullptr;
  ASSERT_EQ(cudaEventCreate(&other), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(other, a_), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(other), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(other), cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

TEST_F(StreamTest, ThreadsHaveTheirOwnDevice) {
  ASSERT_EQ(cudaSetDevice(2), cudaSuccess);
  int device = -1;
  std::thread([&device] { cudaGetDevice(&device); }).join();
  EXPECT_EQ(device, 0);
}

}  // namespace
}  // namespace caravan::emulated
