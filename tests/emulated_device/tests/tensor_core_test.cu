// Matrix fragments, asynchronous copies, pairs: against plain arithmetic.
#include <random>
#include <vector>

#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {
namespace {

using testing::HasSubstr;
namespace cuda = worker::cuda;

class TensorCoreTest : public DeviceTest {
 protected:
  template <typename T>
  std::vector<T> Small(size_t count) {
    std::uniform_int_distribution<int> digit(-8, 8);
    std::vector<T> values(count);
    for (T& value : values) {
      if constexpr (std::is_same_v<T, int8_t>) {
        value = static_cast<int8_t>(digit(random_) * 15);
      } else {
        value = cuda::FromFloat<T>(static_cast<float>(digit(random_)) / 4);
      }
    }
    return values;
  }
  std::mt19937 random_{3};
};

// a: 16 x 16 row-major; b: 16 x 8 row-major; d: 16 x 8.
template <typename T>
__global__ void Product(const T* a, const T* b, float* d) {
  CARAVAN_SHARED(T, shared_a, [16][24]);
  CARAVAN_SHARED(T, shared_b, [16][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 32; i += 32) {
    cuda::CpAsync16(&shared_a[i / 2][i % 2 * 8], a + i * 8);
  }
  if (lane < 16) cuda::CpAsync16(shared_b[lane], b + lane * 8);
  cuda::CpAsyncCommit();
  cuda::CpAsyncWait<0>();
  __syncthreads();
  uint32_t fa[4], fb[2];
  cuda::LdMatrixX4(fa, &shared_a[lane % 16][lane / 16 * 8]);
  cuda::LdMatrixX2Transposed(fb, shared_b[lane % 16]);
  float sum[4] = {};
  cuda::Mma<T>(sum, fa, fb);
  for (int i = 0; i < 4; ++i) {
    d[(lane / 4 + 8 * (i / 2)) * 8 + lane % 4 * 2 + i % 2] = sum[i];
  }
}
template <typename T>
void ExpectProduct(const std::vector<T>& a, const std::vector<T>& b,
                   const std::vector<float>& d) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) {
        sum += cuda::ToFloat(a[i * 16 + k]) * cuda::ToFloat(b[k * 8 + j]);
      }
      ASSERT_EQ(d[i * 8 + j], sum) << i << ", " << j;
    }
  }
}
TEST_F(TensorCoreTest, MultipliesHalfMatrices) {
  const auto a = Small<__half>(256), b = Small<__half>(128);
  const DeviceVector<__half> device_a(a), device_b(b);
  const DeviceVector<float> d(128);
  ASSERT_EQ(Run(Product<__half>, {dim3(1), dim3(32)}, device_a.data(),
                device_b.data(), d.data()),
            cudaSuccess);
  ExpectProduct(a, b, d.Get());
}
TEST_F(TensorCoreTest, MultipliesBfloat16Matrices) {
  const auto a = Small<__nv_bfloat16>(256), b = Small<__nv_bfloat16>(128);
  const DeviceVector<__nv_bfloat16> device_a(a), device_b(b);
  const DeviceVector<float> d(128);
  ASSERT_EQ(Run(Product<__nv_bfloat16>, {dim3(1), dim3(32)}, device_a.data(),
                device_b.data(), d.data()),
            cudaSuccess);
  ExpectProduct(a, b, d.Get());
}

// a: 16 x 32 row-major; b: 8 rows of 32, that is B transposed.
__global__ void ProductS8(const uint32_t* a, const uint32_t* b, int32_t* d) {
  const int lane = static_cast<int>(threadIdx.x);
  const int g = lane / 4, t = lane % 4;
  const uint32_t fa[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + 4 + t],
                          a[(g + 8) * 8 + 4 + t]};
  const uint32_t fb[2] = {b[g * 8 + t], b[g * 8 + 4 + t]};
  int32_t sum[4];
  cuda::MmaS8(sum, fa, fb, 1);
  for (int i = 0; i < 4; ++i) {
    d[(g + 8 * (i / 2)) * 8 + t * 2 + i % 2] = sum[i];
  }
}
TEST_F(TensorCoreTest, MultipliesByteMatrices) {
  const auto a = Small<int8_t>(512), b = Small<int8_t>(256);
  const DeviceVector<int8_t> device_a(a), device_b(b);
  const DeviceVector<int32_t> d(128);
  ASSERT_EQ(Run(ProductS8, {dim3(1), dim3(32)},
                reinterpret_cast<const uint32_t*>(device_a.data()),
                reinterpret_cast<const uint32_t*>(device_b.data()), d.data()),
            cudaSuccess);
  const std::vector<int32_t> got = d.Get();
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      int sum = 1;
      for (int k = 0; k < 32; ++k) sum += a[i * 32 + k] * b[j * 32 + k];
      ASSERT_EQ(got[i * 8 + j], sum) << i << ", " << j;
    }
  }
}

__global__ void Transposed(const uint16_t* in, uint32_t* out) {
  CARAVAN_SHARED(uint4, rows, [32]);
  rows[threadIdx.x] = reinterpret_cast<const uint4*>(in)[threadIdx.x];
  __syncthreads();
  uint32_t plain[4], transposed[4];
  cuda::LdMatrixX4(plain, &rows[threadIdx.x]);
  cuda::LdMatrixX4Transposed(transposed, &rows[threadIdx.x]);
  for (int i = 0; i < 4; ++i) {
    out[threadIdx.x * 8 + i] = plain[i];
    out[threadIdx.x * 8 + 4 + i] = transposed[i];
  }
}
TEST_F(TensorCoreTest, LoadsMatricesBothWays) {
  std::vector<uint16_t> values(256);  // four matrices of 8 x 8
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<uint16_t>(i);
  const DeviceVector<uint16_t> in(values);
  const DeviceVector<uint32_t> out(256);
  ASSERT_EQ(Run(Transposed, {dim3(1), dim3(32)}, in.data(), out.data()),
            cudaSuccess);
  const std::vector<uint32_t> got = out.Get();
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t g = lane / 4, t = lane % 4;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = i * 64 + g * 8 + 2 * t;
      const uint32_t column = i * 64 + 2 * t * 8 + g;
      EXPECT_EQ(got[lane * 8 + i], row | (row + 1) << 16);
      EXPECT_EQ(got[lane * 8 + 4 + i], column | (column + 8) << 16);
    }
  }
}

__global__ void CopyWithoutWaiting(const float* in, float* out, int waits) {
  CARAVAN_SHARED(float4, staged, [2]);
  cuda::CpAsync16(&staged[0], in);
  cuda::CpAsyncCommit();
  cuda::CpAsync16(&staged[1], in + 4, /*valid=*/false);
  cuda::CpAsyncCommit();
  if (waits == 1) cuda::CpAsyncWait<1>();
  if (waits == 2) cuda::CpAsyncWait<0>();
  out[0] = staged[0].y;
  out[1] = staged[1].y;
}
TEST_F(TensorCoreTest, CopiedValuesArePoisonUntilWaitedFor) {
  const DeviceVector<float> in(std::vector<float>(8, 3.0f));
  const DeviceVector<float> out(2);
  const LaunchShape shape = {dim3(1), dim3(1)};
  ASSERT_EQ(Run(CopyWithoutWaiting, shape, in.data(), out.data(), 0),
            cudaSuccess);
  EXPECT_THAT(out.Get(), testing::Each(testing::IsNan()));
  ASSERT_EQ(Run(CopyWithoutWaiting, shape, in.data(), out.data(), 1),
            cudaSuccess);
  EXPECT_EQ(out.Get()[0], 3.0f);
  EXPECT_THAT(out.Get()[1], testing::IsNan());
  ASSERT_EQ(Run(CopyWithoutWaiting, shape, in.data(), out.data(), 2),
            cudaSuccess);
  EXPECT_THAT(out.Get(), testing::ElementsAre(3.0f, 0.0f));
  EXPECT_EQ(Run(CopyWithoutWaiting, shape, in.data() + 1, out.data(), 2),
            cudaErrorMisalignedAddress);
  EXPECT_THAT(TakeFault(), HasSubstr("misaligned"));
}

__global__ void Streaming(const uint32_t* in, uint32_t* out) {
  const uint4 four = cuda::LoadStreaming(reinterpret_cast<const uint4*>(in));
  const uint2 two = cuda::LoadStreaming(reinterpret_cast<const uint2*>(in));
  out[0] = four.w;
  out[1] = two.y;
  out[2] = cuda::LoadStreaming(in + 2);
}
TEST_F(TensorCoreTest, StreamingLoadsAreAligned) {
  const DeviceVector<uint32_t> in(
      std::vector<uint32_t>{1, 2, 3, 4, 5, 6, 7, 8});
  const DeviceVector<uint32_t> out(3);
  const LaunchShape shape = {dim3(1), dim3(1)};
  ASSERT_EQ(Run(Streaming, shape, in.data(), out.data()), cudaSuccess);
  EXPECT_THAT(out.Get(), testing::ElementsAre(4u, 2u, 3u));
  EXPECT_EQ(Run(Streaming, shape, in.data() + 1, out.data()),
            cudaErrorMisalignedAddress);
  TakeFault();
}

__global__ void PairArithmetic(float2* out) {
  const auto half = [](float x, float y) {
    return cuda::FromFloat2<__half>(make_float2(x, y));
  };
  const auto bf16 = [](float x, float y) {
    return cuda::FromFloat2<__nv_bfloat16>(make_float2(x, y));
  };
  out[0] = cuda::ToFloat2(
      cuda::FusedMultiplyAdd(half(3, 2), half(4, 0.5f), half(1, -1)));
  out[1] = cuda::ToFloat2(
      cuda::FusedMultiplyAdd(bf16(3, 2), bf16(4, 0.5f), bf16(1, -1)));
  out[2] = cuda::ToFloat2(cuda::Subtract(half(1032, 1024), half(1024, 1024)));
  out[3] = cuda::ToFloat2(
      cuda::PairFromBits<__half>(cuda::BitsOf(half(5, 6)) ^ 0x80000000u));
  const int a = static_cast<int>(0x01ff8002u);  // 2, -128, -1, 1
  out[4].x = static_cast<float>(cuda::Dp4a(a, a, 10));
  out[4].y = static_cast<float>(__byte_perm(0x33221100, 0x77665544, 0x7410));
}
TEST_F(TensorCoreTest, PairsAndPackedBytes) {
  const DeviceVector<float2> out(5);
  ASSERT_EQ(Run(PairArithmetic, {dim3(1), dim3(1)}, out.data()), cudaSuccess);
  const std::vector<float2> got = out.Get();
  EXPECT_EQ(got[0].x, 13.0f);
  EXPECT_EQ(got[0].y, 0.0f);
  EXPECT_EQ(got[1].x, 13.0f);
  EXPECT_EQ(got[1].y, 0.0f);
  EXPECT_EQ(got[2].x, 8.0f);
  EXPECT_EQ(got[2].y, 0.0f);
  EXPECT_EQ(got[3].x, 5.0f);
  EXPECT_EQ(got[3].y, -6.0f);
  EXPECT_EQ(got[4].x, 4 + 16384 + 1 + 1 + 10);
  EXPECT_EQ(got[4].y, static_cast<float>(0x77441100));
}

}  // namespace
}  // namespace caravan::emulated
