// Warp and block collectives mean what CUDA says; misuse is a fault.
#include <vector>

#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {
namespace {

using testing::HasSubstr;
namespace cuda = worker::cuda;

class WarpTest : public DeviceTest {};

__global__ void Shuffle(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = __shfl_sync(cuda::kFullWarp, lane, 5, 8);
  out[32 + lane] = __shfl_xor_sync(cuda::kFullWarp, lane, 16);
  out[64 + lane] = __shfl_down_sync(cuda::kFullWarp, lane, 3);
  out[96 + lane] = __shfl_up_sync(cuda::kFullWarp, lane, 1, 16);
}
TEST_F(WarpTest, ShufflesMoveValuesBetweenLanes) {
  const DeviceVector<int> out(128);
  ASSERT_EQ(Run(Shuffle, {dim3(1), dim3(32)}, out.data()), cudaSuccess);
  const std::vector<int> got = out.Get();
  for (int lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(got[lane], lane / 8 * 8 + 5);
    EXPECT_EQ(got[32 + lane], lane ^ 16);
    EXPECT_EQ(got[64 + lane], lane + 3 < 32 ? lane + 3 : lane);
    EXPECT_EQ(got[96 + lane], lane % 16 == 0 ? lane : lane - 1);
  }
}

__global__ void Vote(unsigned* out) {
  const unsigned votes = __ballot_sync(cuda::kFullWarp, threadIdx.x % 3 == 0);
  const int any = __any_sync(cuda::kFullWarp, threadIdx.x == 31);
  const int all = __all_sync(cuda::kFullWarp, threadIdx.x < 31);
  if (threadIdx.x == 0) {
    out[0] = votes;
    out[1] = any != 0;
    out[2] = all != 0;
  }
}
TEST_F(WarpTest, VotesAreCounted) {
  const DeviceVector<unsigned> out(3);
  ASSERT_EQ(Run(Vote, {dim3(1), dim3(32)}, out.data()), cudaSuccess);
  EXPECT_THAT(out.Get(), testing::ElementsAre(0x49249249u, 1u, 0u));
}

__global__ void HalfWarps(int* out) {
  const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
  out[threadIdx.x] = __shfl_xor_sync(mask, static_cast<int>(threadIdx.x), 1);
}
TEST_F(WarpTest, DisjointMasksMeetApart) {
  const DeviceVector<int> out(32);
  ASSERT_EQ(Run(HalfWarps, {dim3(1), dim3(32)}, out.data()), cudaSuccess);
  EXPECT_EQ(out.Get()[17], 16);
}

__global__ void NotInMask(int* out) {
  out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1, 1);
}
TEST_F(WarpTest, CallerMustBeInItsMask) {
  const DeviceVector<int> out(32);
  EXPECT_EQ(Run(NotInMask, {dim3(1), dim3(32)}, out.data()),
            cudaErrorIllegalInstruction);
  EXPECT_THAT(TakeFault(), HasSubstr("not in its mask"));
}

__global__ void LaneLeft(int* out) {
  if (threadIdx.x == 3) return;
  out[threadIdx.x] = __shfl_xor_sync(cuda::kFullWarp, 1, 1);
}
TEST_F(WarpTest, NamedLanesMustBeAlive) {
  const DeviceVector<int> out(32);
  EXPECT_EQ(Run(LaneLeft, {dim3(1), dim3(32)}, out.data()),
            cudaErrorIllegalInstruction);
  EXPECT_THAT(TakeFault(), HasSubstr("kernel"));
  EXPECT_EQ(Run(LaneLeft, {dim3(1), dim3(24)}, out.data()),
            cudaErrorIllegalInstruction);
  EXPECT_THAT(TakeFault(), HasSubstr("do not exist"));
}

__global__ void DifferentPlaces(int* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(cuda::kFullWarp, 1, 1);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(cuda::kFullWarp, 2, 1);
  }
}
TEST_F(WarpTest, LanesMeetAtOnePlace) {
  const DeviceVector<int> out(32);
  EXPECT_EQ(Run(DifferentPlaces, {dim3(1), dim3(32)}, out.data()),
            cudaErrorIllegalInstruction);
  EXPECT_THAT(TakeFault(), HasSubstr("divergent"));
}

__global__ void UnnamedSource(float* out) {
  const unsigned mask = 0x0000ffffu;
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(mask, 1.0f, 20);
}
TEST_F(WarpTest, ValueOfALaneOutsideTheMaskIsPoison) {
  const DeviceVector<float> out(16);
  ASSERT_EQ(Run(UnnamedSource, {dim3(1), dim3(32)}, out.data()), cudaSuccess);
  EXPECT_THAT(out.Get()[0], testing::IsNan());
}

template <int kThreads>
__global__ void Reduce(float* floats, int* ints) {
  const int i = static_cast<int>(threadIdx.x);
  const float x = static_cast<float>(i % 13) - 6.0f;
  floats[i * 5 + 0] = cuda::WarpSum(x);
  floats[i * 5 + 1] = cuda::WarpMax<8>(x);
  floats[i * 5 + 2] = cuda::BlockSum<kThreads>(x);
  floats[i * 5 + 3] = cuda::BlockMax<kThreads>(-x);
  ints[i * 3 + 0] = cuda::BlockSum<kThreads>(i);
  const cuda::Indexed best = cuda::BlockMax<kThreads>(cuda::Indexed{x, i});
  floats[i * 5 + 4] = best.value;
  ints[i * 3 + 1] = best.index;
  ints[i * 3 + 2] = cuda::WarpMax(i);
}
TEST_F(WarpTest, ReductionsGiveEveryThreadTheResult) {
  constexpr int kThreads = 96;
  const DeviceVector<float> floats(kThreads * 5);
  const DeviceVector<int> ints(kThreads * 3);
  ASSERT_EQ(Run(Reduce<kThreads>, {dim3(1), dim3(kThreads)}, floats.data(),
                ints.data()),
            cudaSuccess);
  const std::vector<float> f = floats.Get();
  const std::vector<int> n = ints.Get();
  const auto x = [](int i) { return static_cast<float>(i % 13) - 6.0f; };
  float block = 0;
  for (int i = 0; i < kThreads; ++i) block += x(i);
  for (int i = 0; i < kThreads; ++i) {
    float warp = 0;
    for (int j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) warp += x(j);
    float group = -100;
    for (int j = i / 8 * 8; j < i / 8 * 8 + 8; ++j) group = max(group, x(j));
    EXPECT_EQ(f[i * 5 + 0], warp);
    EXPECT_EQ(f[i * 5 + 1], group);
    EXPECT_EQ(f[i * 5 + 2], block);
    EXPECT_EQ(f[i * 5 + 3], 6.0f);
    EXPECT_EQ(f[i * 5 + 4], 6.0f);
    EXPECT_EQ(n[i * 3 + 0], kThreads * (kThreads - 1) / 2);
    EXPECT_EQ(n[i * 3 + 1], 12);
    EXPECT_EQ(n[i * 3 + 2], i / 32 * 32 + 31);
  }
}

__global__ void WrongWidth(float* out) {
  out[threadIdx.x] = cuda::BlockSum<64>(1.0f);
}
TEST_F(WarpTest, BlockReductionsNeedTheWholeBlock) {
  const DeviceVector<float> out(128);
  EXPECT_EQ(Run(WrongWidth, {dim3(1), dim3(128)}, out.data()),
            cudaErrorIllegalInstruction);
  EXPECT_THAT(TakeFault(), HasSubstr("over 64 of 128 threads"));
}

__global__ void Atomics(unsigned* out, float* sum, int* best) {
  atomicAdd(sum, 0.5f);
  atomicMax(best, static_cast<int>(blockIdx.x * 32 + threadIdx.x));
  atomicInc(out, 9);
  atomicCAS(out + 1, 0u, threadIdx.x + 1);
}
TEST_F(WarpTest, AtomicsCountAllThreads) {
  const DeviceVector<unsigned> out(std::vector<unsigned>{0, 0});
  const DeviceVector<float> sum(std::vector<float>{0});
  const DeviceVector<int> best(std::vector<int>{-1});
  ASSERT_EQ(
      Run(Atomics, {dim3(3), dim3(32)}, out.data(), sum.data(), best.data()),
      cudaSuccess);
  EXPECT_EQ(out.Get()[0], 96u % 10);
  EXPECT_NE(out.Get()[1], 0u);
  EXPECT_EQ(sum.Get()[0], 48.0f);
  EXPECT_EQ(best.Get()[0], 95);
}

}  // namespace
}  // namespace caravan::emulated
