#include "worker/backend/cuda/rotate.h"

#include <cmath>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/numbers.cuh"

namespace caravan::worker::cuda {
namespace {

constexpr int kHeadDim = 12;  // not a whole number of units of 16 bits

template <typename T>
constexpr KvFormat kFormat = std::is_same_v<T, float>    ? KvFormat::kFloat32
                             : std::is_same_v<T, __half> ? KvFormat::kHalf
                                                         : KvFormat::kBFloat16;

// A cache of two blocks, and where it holds what.
template <typename T>
class RotateTest : public ::testing::Test {
 protected:
  static constexpr int kUnit = 16 / sizeof(T);
  static constexpr int kPadded = (kHeadDim + kUnit - 1) / kUnit * kUnit;
  static constexpr int kBlock = 2 * kBlockPositions * kPadded;

  // Rows at the angle 0; conformance tests look at others.
  std::vector<float> Store(const std::vector<float>& rows,
                           const std::vector<RowPlace>& row_places) {
    const size_t num_rows = row_places.size();
    const DeviceVector<T> cache(
        std::vector<T>(2 * kBlock, FromFloat<T>(-1.0f)));
    const DeviceVector<float> queries(
        std::vector<float>(num_rows * kHeadDim, 5));
    const DeviceVector<float> keys_values(rows);
    const DeviceVector<float> cos(std::vector<float>(3 * kHeadDim / 2, 1));
    const DeviceVector<float> sin(std::vector<float>(3 * kHeadDim / 2, 0));
    const DeviceVector<RowPlace> places(row_places);
    EXPECT_EQ(
        RotateAndStore(
            {.queries = queries.data(),
             .keys_values = keys_values.data(),
             .rotation = {.cos = cos.data(),
                          .sin = sin.data(),
                          .places = places.data(),
                          .cache = {cache.data(), 1, kHeadDim, kFormat<T>},
                          .num_heads = 1},
             .num_rows = static_cast<int64_t>(num_rows)},
            nullptr),
        cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    std::vector<float> held;
    for (const T value : cache.Get()) held.push_back(ToFloat(value));
    return held;
  }

  static int KeyAt(int block, int place, int d) {
    return block * kBlock + (d / kUnit * kBlockPositions + place) * kUnit +
           d % kUnit;
  }
  static int ValueAt(int block, int place, int d) {
    return block * kBlock + (kBlockPositions + place) * kPadded + d;
  }
};

using CacheTypes = ::testing::Types<float, __half, __nv_bfloat16>;
TYPED_TEST_SUITE(RotateTest, CacheTypes);

TYPED_TEST(RotateTest, StoresRowsAndNoPadding) {
  constexpr int kRow = 2 * kHeadDim;
  std::vector<float> rows(3 * kRow, 90);  // the second is padding
  std::vector<float> wanted(2 * this->kBlock, -1);
  for (int d = 0; d < kHeadDim; ++d) {
    rows[d] = wanted[this->KeyAt(1, 2, d)] = d + 1;
    rows[kHeadDim + d] = wanted[this->ValueAt(1, 2, d)] = d + 31;
    rows[2 * kRow + d] = wanted[this->KeyAt(0, 0, d)] = d + 61;
    rows[2 * kRow + kHeadDim + d] = wanted[this->ValueAt(0, 0, d)] = d + 91;
  }
  EXPECT_EQ(this->Store(rows, {{2, 1}, {0, kNoBlock}, {0, 0}}), wanted);
}

TYPED_TEST(RotateTest, RoundsToNearestEvenWithinTheRange) {
  std::vector<float> row(2 * kHeadDim, 0);
  const float infinity = INFINITY;
  const std::vector<float> numbers = {257,   259,   2049,   2051,  0.1f,
                                      1e-6f, 70000, -70000, 65519, infinity};
  for (size_t i = 0; i < numbers.size(); ++i) {
    // Turning spreads what is not finite: times 0 it is NaN.
    if (std::isfinite(numbers[i])) row[i] = numbers[i];
    row[kHeadDim + i] = numbers[i];
  }
  row[kHeadDim + 11] = NAN;
  std::vector<float> kept = numbers;
  if (std::is_same_v<TypeParam, __half>) {
    kept = {257,        259,   2048,   2052,  0x1.998p-4f,
            0x1.1p-20f, 65504, -65504, 65504, 65504};
  } else if (std::is_same_v<TypeParam, __nv_bfloat16>) {
    kept = {256,         260,   2048,   2048,  0x1.9ap-4f,
            0x1.0cp-20f, 70144, -70144, 65536, infinity};
  }
  const std::vector<float> held = this->Store(row, {{1, 0}});
  for (size_t i = 0; i < kept.size(); ++i) {
    const int d = static_cast<int>(i);
    EXPECT_EQ(held[this->ValueAt(0, 1, d)], kept[i]) << d;
    if (!std::isfinite(numbers[i])) continue;
    EXPECT_EQ(held[this->KeyAt(0, 1, d)], kept[i]) << d;
  }
  EXPECT_TRUE(std::isnan(held[this->ValueAt(0, 1, 11)]));
}

}  // namespace
}  // namespace caravan::worker::cuda
