#include "worker/backend/cuda/rotate.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/backend/cuda/device_vector.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kHeadDim = 4;
constexpr int kBlockFloats = 2 * kBlockPositions * kHeadDim;

// Keys and values that are found again; the angle is 0. Conformance tests look
// at the angles.
TEST(RotateTest, StoresRowsAndNoPadding) {
  const DeviceVector<float> cache(std::vector<float>(2 * kBlockFloats, -1));
  const DeviceVector<float> queries(std::vector<float>(3 * kHeadDim, 5));
  const DeviceVector<float> keys_values({1,  2,  3,  4,  5,  6,  7,  8, 90,
                                         90, 90, 90, 90, 90, 90, 90,  // padding
                                         11, 12, 13, 14, 15, 16, 17, 18});
  const DeviceVector<float> cos(std::vector<float>(3 * kHeadDim / 2, 1));
  const DeviceVector<float> sin(std::vector<float>(3 * kHeadDim / 2, 0));
  const DeviceVector<RowPlace> places({{2, 1}, {0, kNoBlock}, {0, 0}});
  ASSERT_EQ(RotateAndStore({.queries = queries.data(),
                            .keys_values = keys_values.data(),
                            .cos = cos.data(),
                            .sin = sin.data(),
                            .places = places.data(),
                            .cache = {cache.data(), 1, kHeadDim},
                            .num_heads = 1,
                            .num_rows = 3},
                           nullptr),
            cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  std::vector<float> wanted(2 * kBlockFloats, -1);
  const auto expect_row = [&wanted](int block, int place, float first) {
    for (int d = 0; d < kHeadDim; ++d) {
      float* const at = &wanted[block * kBlockFloats + place * kHeadDim + d];
      at[0] = first + d;
      at[kBlockPositions * kHeadDim] = first + kHeadDim + d;
    }
  };
  expect_row(1, 2, 1);
  expect_row(0, 0, 11);
  EXPECT_EQ(cache.Get(), wanted);
}

}  // namespace
}  // namespace caravan::worker::cuda
