#include "worker/comm/nccl/device_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/comm/bfloat16_values.h"
#include "worker/comm/rank_ordered_sum.h"

namespace caravan::worker {
namespace {

using cuda::DeviceVector;

// Magnitudes so different that the order of a sum shows.
float Value(int rank, int64_t i) {
  const auto bits = static_cast<uint32_t>(i * 2654435761u + rank * 40503u);
  const float mantissa = 1 + static_cast<float>(bits >> 9) / (1 << 23);
  return std::ldexp(bits & 1 ? mantissa : -mantissa,
                    static_cast<int>(bits >> 5 & 31) - 16);
}

// `shift`: by how many values the memory is not aligned.
void Check(int num_ranks, int own_rank, int64_t count, int64_t shift) {
  SCOPED_TRACE(testing::Message()
               << num_ranks << " ranks, own " << own_rank << ", " << count
               << " values, shift " << shift);
  const int64_t stride = count + shift;
  std::vector<float> addends(num_ranks * stride + shift, NAN);
  std::vector<float> own(count + shift, NAN);
  std::vector<float> expected(count);
  for (int64_t i = 0; i < count; ++i) {
    for (int rank = 0; rank < num_ranks; ++rank) {
      const float value = Value(rank, i);
      if (rank == own_rank) {
        own[shift + i] = value;
      } else {
        addends[shift + rank * stride + i] = value;
      }
      expected[i] = rank == 0 ? value : expected[i] + value;
    }
  }
  const DeviceVector<float> device_addends(addends);
  const DeviceVector<float> device_own(own);
  float* const out = device_own.data() + shift;
  ASSERT_EQ(SumInRankOrderOnDevice(
                DeviceSumArguments<float, float>{
                    .addends = device_addends.data() + shift,
                    .stride = stride,
                    .num_addends = num_ranks,
                    .own = out,
                    .own_rank = own_rank,
                    .out = out,
                    .count = count},
                nullptr),
            cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const std::vector<float> got = device_own.Get();
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(std::memcmp(&got[shift + i], &expected[i], sizeof(float)), 0)
        << i << ": got " << got[shift + i] << " expected " << expected[i];
  }
}

// Few and many values, from an address of 16 bytes and beside one.
void ForEachShape(void (*check)(int num_ranks, int own_rank, int64_t count,
                                int64_t shift)) {
  for (const int num_ranks : {1, 2, 3, 6}) {
    for (const int64_t count : {1, 4, 255, 1028, 4097}) {
      for (const int64_t shift : {0, 1}) {
        check(num_ranks, num_ranks / 2, count, shift);
      }
    }
  }
}

TEST(DeviceSum, AddsInOrderOfRanks) { ForEachShape(Check); }

// Some of each kind of value, and all kinds of rounding.
float SpecialValue(int rank, int64_t i) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kSpecials[] = {0.0f,   -0.0f,  kInfinity,   -kInfinity,
                                 NAN,    1e-40f, -1e-40f,     3.4e38f,
                                 -3e38f, 256.0f, 1.00390625f, 1.01171875f};
  const int64_t kind = (i / 7 + rank * 5) % 24;
  return kind < 12 ? kSpecials[kind] : Value(rank, i);
}

uint16_t BitsOf(__nv_bfloat16 value) {
  uint16_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

__nv_bfloat16 FromBits(uint16_t bits) {
  __nv_bfloat16 value;
  std::memcpy(static_cast<void*>(&value), &bits, sizeof(bits));
  return value;
}

struct RoundedRanks {
  std::vector<std::vector<uint16_t>> addends;
  std::vector<uint16_t> sum;  // as the CPU adds them
};

RoundedRanks RoundOnCpu(int num_ranks, int64_t count) {
  RoundedRanks result{.sum = std::vector<uint16_t>(count)};
  std::vector<const uint16_t*> pointers;
  for (int rank = 0; rank < num_ranks; ++rank) {
    std::vector<float> values(count);
    for (int64_t i = 0; i < count; ++i) values[i] = SpecialValue(rank, i);
    result.addends.emplace_back(count);
    RoundToBFloat16(values, absl::MakeSpan(result.addends.back()));
  }
  for (const auto& addend : result.addends) pointers.push_back(addend.data());
  SumInRankOrder(pointers, absl::MakeSpan(result.sum));
  return result;
}

// The kernels' sum as bfloat16 and as float32, against the CPU's.
void CheckRounded(int num_ranks, int own_rank, int64_t count, int64_t shift) {
  SCOPED_TRACE(testing::Message()
               << num_ranks << " ranks, own " << own_rank << ", " << count
               << " values, shift " << shift);
  const RoundedRanks cpu = RoundOnCpu(num_ranks, count);
  const int64_t stride = count + shift;
  std::vector<__nv_bfloat16> addends(num_ranks * stride + shift, FromBits(0));
  std::vector<__nv_bfloat16> own(count + shift, FromBits(0));
  for (int rank = 0; rank < num_ranks; ++rank) {
    for (int64_t i = 0; i < count; ++i) {
      (rank == own_rank ? own[shift + i] : addends[shift + rank * stride + i]) =
          FromBits(cpu.addends[rank][i]);
    }
  }
  const DeviceVector<__nv_bfloat16> device_addends(addends);
  const DeviceVector<__nv_bfloat16> device_own(own);
  const DeviceVector<float> wide(std::vector<float>(count + shift));
  const auto sum_into = [&](auto* out) {
    return SumInRankOrderOnDevice(
        DeviceSumArguments<__nv_bfloat16, std::remove_pointer_t<decltype(out)>>{
            .addends = device_addends.data() + shift,
            .stride = stride,
            .num_addends = num_ranks,
            .own = device_own.data() + shift,
            .own_rank = own_rank,
            .out = out,
            .count = count},
        nullptr);
  };
  ASSERT_EQ(sum_into(wide.data() + shift), cudaSuccess);
  ASSERT_EQ(sum_into(device_own.data() + shift), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const std::vector<__nv_bfloat16> got = device_own.Get();
  const std::vector<float> got_wide = wide.Get();
  std::vector<float> expected(count);
  WidenBFloat16(cpu.sum, absl::MakeSpan(expected));
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(BitsOf(got[shift + i]), cpu.sum[i]) << i;
    ASSERT_EQ(std::memcmp(&got_wide[shift + i], &expected[i], sizeof(float)), 0)
        << i << ": got " << got_wide[shift + i] << " expected " << expected[i];
  }
}

TEST(DeviceSum, BFloat16SumsHaveTheCpusBits) { ForEachShape(CheckRounded); }

TEST(DeviceSum, ConvertsAsTheCpu) {
  for (const int64_t count : {1, 4, 255, 1028, 4097}) {
    for (const int64_t shift : {0, 1}) {
      SCOPED_TRACE(testing::Message() << count << " values, shift " << shift);
      std::vector<float> values(count + shift);
      for (int64_t i = 0; i < count; ++i) {
        values[shift + i] = SpecialValue(3, i);
      }
      const DeviceVector<float> from(values);
      const DeviceVector<__nv_bfloat16> rounded(
          std::vector<__nv_bfloat16>(count + shift, FromBits(0)));
      const DeviceVector<float> back(std::vector<float>(count + shift));
      ASSERT_EQ(ConvertOnDevice(from.data() + shift, rounded.data() + shift,
                                count, nullptr),
                cudaSuccess);
      ASSERT_EQ(ConvertOnDevice(rounded.data() + shift, back.data() + shift,
                                count, nullptr),
                cudaSuccess);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      std::vector<uint16_t> expected(values.size());
      RoundToBFloat16(values, absl::MakeSpan(expected));
      std::vector<float> widened(values.size());
      WidenBFloat16(expected, absl::MakeSpan(widened));
      const std::vector<__nv_bfloat16> got = rounded.Get();
      const std::vector<float> got_back = back.Get();
      for (int64_t i = shift; i < count + shift; ++i) {
        ASSERT_EQ(BitsOf(got[i]), expected[i]) << i << ": " << values[i];
        ASSERT_EQ(std::memcmp(&got_back[i], &widened[i], sizeof(float)), 0)
            << i << ": " << got_back[i];
      }
    }
  }
}

TEST(DeviceSum, NothingIsDoneForNothing) {
  using Arguments = DeviceSumArguments<float, float>;
  EXPECT_EQ(SumInRankOrderOnDevice(Arguments{.num_addends = 2}, nullptr),
            cudaSuccess);
  EXPECT_EQ(SumInRankOrderOnDevice(Arguments{.count = 1}, nullptr),
            cudaErrorInvalidValue);
  const float* const nothing = nullptr;
  __nv_bfloat16* const nowhere = nullptr;
  EXPECT_EQ(ConvertOnDevice(nothing, nowhere, 0, nullptr), cudaSuccess);
  EXPECT_EQ(ConvertOnDevice(nothing, nowhere, -1, nullptr),
            cudaErrorInvalidValue);
}

}  // namespace
}  // namespace caravan::worker
