#include "worker/comm/nccl/device_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"

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
  ASSERT_EQ(SumInRankOrderOnDevice({.addends = device_addends.data() + shift,
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

TEST(DeviceSum, AddsInOrderOfRanks) {
  for (const int num_ranks : {1, 2, 3, 6}) {
    for (const int64_t count : {1, 4, 255, 1028, 4097}) {
      for (const int64_t shift : {0, 1}) {
        Check(num_ranks, num_ranks / 2, count, shift);
      }
    }
  }
}

TEST(DeviceSum, NothingIsDoneForNothing) {
  EXPECT_EQ(SumInRankOrderOnDevice({.num_addends = 2}, nullptr), cudaSuccess);
  EXPECT_EQ(SumInRankOrderOnDevice({.count = 1}, nullptr),
            cudaErrorInvalidValue);
}

}  // namespace
}  // namespace caravan::worker
