// Barriers, shared memory, grids: what works, and how each misuse shows.
#include <vector>

#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {
namespace {

using testing::HasSubstr;
namespace cuda = worker::cuda;

class BlockTest : public DeviceTest {};

__global__ void Reverse(const int* in, int* out) {
  CARAVAN_SHARED(int, staged, [64]);
  staged[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = staged[63 - threadIdx.x];
}
TEST_F(BlockTest, BarrierMakesSharedMemoryVisible) {
  std::vector<int> values(64);
  for (int i = 0; i < 64; ++i) values[i] = i;
  const DeviceVector<int> in(values);
  const DeviceVector<int> out(64);
  ASSERT_EQ(Run(Reverse, {dim3(1), dim3(64)}, in.data(), out.data()),
            cudaSuccess);
  const std::vector<int> got = out.Get();
  for (int i = 0; i < 64; ++i) EXPECT_EQ(got[i], 63 - i);
}

__global__ void WhoAmI(unsigned* out) {
  const unsigned block =
      (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread =
      (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] =
      block * 1000 + thread;
}
TEST_F(BlockTest, EveryThreadOfEveryBlockRunsOnce) {
  const DeviceVector<unsigned> out(2 * 3 * 2 * 4 * 2 * 5);
  ASSERT_EQ(Run(WhoAmI, {dim3(2, 3, 2), dim3(4, 2, 5)}, out.data()),
            cudaSuccess);
  const std::vector<unsigned> got = out.Get();
  for (unsigned i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i], i / 40 * 1000 + i % 40);
  }
}

__global__ void Divergent(int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    out[threadIdx.x - 32] = 1;
    __syncthreads();
  }
}
TEST_F(BlockTest, BarrierInDivergentCodeIsAFault) {
  const DeviceVector<int> out(32);
  EXPECT_EQ(Run(Divergent, {dim3(1), dim3(64)}, out.data()),
            cudaErrorIllegalInstruction);
  EXPECT_THAT(TakeFault(), HasSubstr("__syncthreads in divergent code"));
}

__global__ void HalfAtBarrier(unsigned* flag) {
  if (threadIdx.x < 32) __syncthreads();
  if (threadIdx.x >= 32) {
    while (cuda::LoadAcquire(flag) == 0) cuda::SpinPause();
  }
  if (threadIdx.x == 0) cuda::StoreRelease(flag, 1);
}
TEST_F(BlockTest, WaitingForNobodyIsAFault) {
  const DeviceVector<unsigned> flag(std::vector<unsigned>{0});
  EXPECT_EQ(Run(HalfAtBarrier, {dim3(1), dim3(64)}, flag.data()),
            cudaErrorLaunchTimeout);
  EXPECT_THAT(TakeFault(), HasSubstr("loop"));
}

__global__ void GridAndBlock() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    cuda::GridSync();
  }
}
TEST_F(BlockTest, DeadlockNamesWhatIsWaitedFor) {
  EXPECT_EQ(Run(GridAndBlock, {dim3(1), dim3(64), 0, true}),
            cudaErrorLaunchTimeout);
  EXPECT_THAT(TakeFault(), testing::AllOf(HasSubstr("deadlock: 64 threads"),
                                          HasSubstr("block_test.cu")));
}

__global__ void Uninitialized(float* out) {
  CARAVAN_SHARED(float, values, [33]);
  if (threadIdx.x < 31) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}
TEST_F(BlockTest, SharedMemoryStartsAsNan) {
  const DeviceVector<float> out(32);
  ASSERT_EQ(Run(Uninitialized, {dim3(1), dim3(32)}, out.data()), cudaSuccess);
  EXPECT_EQ(out.Get()[30], 1.0f);
  EXPECT_THAT(out.Get()[31], testing::IsNan());
}

__global__ void PastShared(int bytes) {
  CARAVAN_DYNAMIC_SHARED(buffer);
  if (threadIdx.x == 0) buffer[bytes] = 1;
}
TEST_F(BlockTest, WritingPastSharedMemoryIsFound) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer would end the process";
  EXPECT_EQ(Run(PastShared, {dim3(1), dim3(32), 64}, 64),
            cudaErrorIllegalAddress);
  EXPECT_THAT(TakeFault(), HasSubstr("past 64 bytes of shared memory"));
}

__global__ void SumOverGrid(const float* in, float* partial, float* out,
                            int n) {
  float sum = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x) {
    sum += in[i];
  }
  sum = cuda::BlockSum<64>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
  cuda::GridSync();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    float total = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];
    *out = total;
  }
}
TEST_F(BlockTest, GridSyncMeetsAllBlocksOfACooperativeLaunch) {
  const DeviceVector<float> in(std::vector<float>(1000, 1.0f));
  const DeviceVector<float> partial(5);
  const DeviceVector<float> out(1);
  ASSERT_EQ(Run(SumOverGrid, {dim3(5), dim3(64), 0, true}, in.data(),
                partial.data(), out.data(), 1000),
            cudaSuccess);
  EXPECT_EQ(out.Get()[0], 1000.0f);
  EXPECT_EQ(Run(SumOverGrid, {dim3(5), dim3(64)}, in.data(), partial.data(),
                out.data(), 1000),
            cudaErrorLaunchFailure);
  EXPECT_THAT(TakeFault(), HasSubstr("not cooperative"));
}

__global__ void LastBlockSums(float* parts, unsigned* counter, float* out) {
  CARAVAN_SHARED(bool, is_last);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = 1;
    __threadfence();
    is_last = atomicAdd(counter, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (is_last && threadIdx.x == 0) {
    __threadfence();
    float sum = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) sum += parts[b];
    *out = sum;
  }
}
TEST_F(BlockTest, LastBlockSeesWhatOthersFenced) {
  const DeviceVector<float> parts(8);
  const DeviceVector<unsigned> counter(std::vector<unsigned>{0});
  const DeviceVector<float> out(1);
  ASSERT_EQ(Run(LastBlockSums, {dim3(8), dim3(32)}, parts.data(),
                counter.data(), out.data()),
            cudaSuccess);
  EXPECT_EQ(out.Get()[0], 8.0f);
}

__global__ void Flags(unsigned* flag, int* value, int* out) {
  if (blockIdx.x == 0) {
    *value = 42;
    cuda::StoreRelease(flag, 1);
  } else {
    while (cuda::LoadAcquire(flag) == 0) cuda::SpinPause();
    *out = *value;
  }
}
TEST_F(BlockTest, ResidentBlocksWaitForEachOther) {
  const DeviceVector<unsigned> flag(std::vector<unsigned>{0});
  const DeviceVector<int> value(1);
  const DeviceVector<int> out(1);
  ASSERT_EQ(Run(Flags, {dim3(2), dim3(1), 0, true}, flag.data(), value.data(),
                out.data()),
            cudaSuccess);
  EXPECT_EQ(out.Get()[0], 42);
}

__global__ void Overlapping(int wait, int* out) {
  if (wait != 0) cuda::WaitForPreviousKernel();
  *out = 1;
  cuda::LetNextKernelStart();
}
TEST_F(BlockTest, OverlappingLaunchMustWaitForThePreviousKernel) {
  const DeviceVector<int> out(1);
  LaunchShape shape = {dim3(1), dim3(1)};
  shape.overlap_previous = true;
  EXPECT_EQ(Run(Overlapping, shape, 1, out.data()), cudaSuccess);
  EXPECT_EQ(Run(Overlapping, shape, 0, out.data()), cudaErrorLaunchFailure);
  EXPECT_THAT(TakeFault(), HasSubstr("never waited"));
}

__global__ void One(int* values) {
  cuda::LetNextKernelStart();
  values[threadIdx.x] = 1;
}
__global__ void AddNeighbour(const int* values, int* out) {
  cuda::WaitForPreviousKernel();
  out[threadIdx.x] = 41 + values[threadIdx.x ^ 1];
}
TEST_F(BlockTest, OverlappingKernelSeesThePreviousOneWhenItHasWaited) {
  const DeviceVector<int> values(64);
  const DeviceVector<int> out(64);
  ASSERT_EQ(cuda::Launch(One, {dim3(1), dim3(64)}, nullptr, values.data()),
            cudaSuccess);
  ASSERT_EQ(cuda::Launch(
                AddNeighbour,
                {.grid = dim3(1), .block = dim3(64), .overlap_previous = true},
                nullptr, values.data(), out.data()),
            cudaSuccess);
  EXPECT_THAT(out.Get(), testing::Each(42));
}

__global__ void Nothing() {}
TEST_F(BlockTest, ShapesBeyondTheDeviceAreRefused) {
  EXPECT_EQ(Run(Nothing, {dim3(1), dim3(1025)}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(Run(Nothing, {dim3(0), dim3(32)}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(Run(Nothing, {dim3(1, 65536), dim3(32)}),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(Run(Nothing, {dim3(1000), dim3(1024), 0, true}),
            cudaErrorCooperativeLaunchTooLarge);
  EXPECT_EQ(Run(Nothing, {dim3(1), dim3(32), 60 * 1024}),
            cudaErrorInvalidValue);
  ASSERT_EQ(cuda::AllowSharedBytes(Nothing, 60 * 1024), cudaSuccess);
  EXPECT_EQ(Run(Nothing, {dim3(1), dim3(32), 60 * 1024}), cudaSuccess);
  EXPECT_EQ(cuda::AllowSharedBytes(Nothing, 100 * 1024), cudaErrorInvalidValue);
  int blocks = 0;
  ASSERT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                &blocks, reinterpret_cast<const void*>(Nothing), 512, 0),
            cudaSuccess);
  EXPECT_EQ(blocks, 3);
  cudaGetLastError();
}

__global__ void DivideByZero(int* values) { values[0] /= values[1]; }
__global__ void Recurse(int* out) {
  volatile char large[200 * 1024];
  for (int i = 0; i < 200 * 1024; i += 1024) large[i] = 1;
  *out = large[1024];
}
__global__ void Wild(int* out) { out[size_t{1} << 40] = 1; }
TEST_F(BlockTest, SignalsOfKernelsAreTheirFaults) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer would end the process";
  const DeviceVector<int> values(std::vector<int>{1, 0});
  EXPECT_EQ(Run(DivideByZero, {dim3(1), dim3(1)}, values.data()),
            cudaErrorIllegalAddress);
  EXPECT_THAT(TakeFault(), HasSubstr("division by zero"));
  EXPECT_EQ(Run(Recurse, {dim3(1), dim3(1)}, values.data()),
            cudaErrorIllegalAddress);
  EXPECT_THAT(TakeFault(), HasSubstr("stack overflow"));
  EXPECT_EQ(Run(Wild, {dim3(1), dim3(1)}, values.data()),
            cudaErrorIllegalAddress);
  EXPECT_THAT(TakeFault(), HasSubstr("illegal address"));
}

}  // namespace
}  // namespace caravan::emulated
