#include "worker/backend/cuda/prepare_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/numbers.cuh"

namespace caravan::worker::cuda {
namespace {

constexpr float kEpsilon = 1e-5f;

std::vector<float> RandomFloats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Rows `indices` of x, normalized.
std::vector<double> Expected(const std::vector<float>& x,
                             const std::vector<int64_t>& indices,
                             const std::vector<float>& norm) {
  const size_t cols = norm.size();
  std::vector<double> rows;
  for (const int64_t index : indices) {
    const float* row = &x[static_cast<size_t>(index) * cols];
    double sum = 0;
    for (size_t i = 0; i < cols; ++i) sum += double{row[i]} * row[i];
    const double factor =
        1 / std::sqrt(sum / static_cast<double>(cols) + kEpsilon);
    for (size_t i = 0; i < cols; ++i) {
      rows.push_back(row[i] * factor * norm[i]);
    }
  }
  return rows;
}

class PrepareRowsTest : public testing::Test {
 protected:
  // Prepares rows {4, 0, 4, 2, ...} of some x.
  void Prepare(const ProductInput& to, int64_t cols) {
    const auto size = static_cast<size_t>(cols);
    const std::vector<float> x = RandomFloats(5 * size, 1);
    const std::vector<float> norm = RandomFloats(size, 2);
    const DeviceVector<float> device_x(x);
    const DeviceVector<float> device_norm(norm);
    const DeviceVector<int64_t> indices(kIndices);
    ASSERT_EQ(PrepareRows({.x = device_x.data(),
                           .cols = cols,
                           .num_rows = static_cast<int64_t>(kIndices.size()),
                           .indices = indices.data(),
                           .norm = device_norm.data(),
                           .epsilon = kEpsilon,
                           .to = to},
                          nullptr),
              cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    expected_ = Expected(x, kIndices, norm);
    cols_ = size;
  }
  double ExpectedAt(size_t row, size_t col) const {
    return col < cols_ ? expected_[row * cols_ + col] : 0;
  }
  // Of a row's largest.
  double LargestOf(size_t row) const {
    double largest = 0;
    for (size_t i = 0; i < cols_; ++i) {
      largest = std::max(largest, std::fabs(ExpectedAt(row, i)));
    }
    return largest;
  }

  template <typename T>
  void ExpectHalves(HeldFormat format, int64_t cols, double precision) {
    const auto pieces =
        static_cast<size_t>((cols + kHalfPiece - 1) / kHalfPiece);
    const DeviceVector<uint16_t> halves(16 * pieces * 32);
    const DeviceVector<float> factors(16);
    Prepare({.format = format,
             .group = kMatrixGroup,
             .halves = halves.data(),
             .factors = factors.data()},
            cols);
    const std::vector<uint16_t> bits = halves.Get();
    const auto at = [&](size_t row, size_t col, size_t part) {
      const size_t half =
          ((row / 8 * pieces + col / 16) * 2 + part) * 2 + col / 8 % 2;
      return double{
          ToFloat2(PairFromBits<T>(bits[(half * 8 + row % 8) * 8 + col % 8]))
              .x};
    };
    for (size_t row = 0; row < kIndices.size(); ++row) {
      const double factor = factors.Get()[row];
      for (size_t col = 0; col < pieces * 16; ++col) {
        const double exact = ExpectedAt(row, col);
        ASSERT_NEAR(factor * (at(row, col, 0) + at(row, col, 1)), exact,
                    precision * std::fabs(exact) + 0x1p-36 * LargestOf(row))
            << "row " << row << " column " << col;
      }
    }
  }

  template <typename T>
  void ExpectRounded(HeldFormat format, int64_t cols, double precision) {
    const auto stride = static_cast<size_t>((cols + 7) / 8 * 8);
    const DeviceVector<uint16_t> rounded(kIndices.size() * stride);
    Prepare(
        {.format = format, .group = kMatrixGroup, .rounded = rounded.data()},
        cols);
    const std::vector<uint16_t> bits = rounded.Get();
    for (size_t row = 0; row < kIndices.size(); ++row) {
      for (size_t col = 0; col < stride; ++col) {
        const double exact = ExpectedAt(row, col);
        const double got =
            ToFloat2(PairFromBits<T>(bits[row * stride + col])).x;
        ASSERT_NEAR(got, exact, (precision + 1e-6) * std::fabs(exact) + 0x1p-25)
            << "row " << row << " column " << col;
      }
    }
  }

  void ExpectBlocks(size_t num_blocks, int group) {
    const DeviceVector<int8_t> values(16 * num_blocks * 32);
    const DeviceVector<float2> scales(16 * num_blocks);
    Prepare({.format = HeldFormat::kQ4,
             .group = group,
             .values = values.data(),
             .scales = scales.data()},
            static_cast<int64_t>(num_blocks * 32));
    const std::vector<int8_t> got = values.Get();
    const std::vector<float2> got_scales = scales.Get();
    const auto size = static_cast<size_t>(group);
    for (size_t row = 0; row < kIndices.size(); ++row) {
      for (size_t block = 0; block < num_blocks; ++block) {
        const size_t first = row / size * num_blocks + block;
        const float2 scale = got_scales[first * size + row % size];
        int sum = 0;
        for (size_t i = 0; i < 32; ++i) {
          const size_t half = (first * 2 + i / 16) * size + row % size;
          const int value = got[half * 16 + i % 16];
          sum += value;
          ASSERT_NEAR(value * scale.x, ExpectedAt(row, block * 32 + i),
                      0.501 * scale.x);
        }
        ASSERT_EQ(scale.y, static_cast<float>(sum));
      }
    }
  }

  const std::vector<int64_t> kIndices = {4, 0, 4, 2, 1, 3, 3, 0, 2};
  std::vector<double> expected_;
  size_t cols_ = 0;
};

// The norm adds errors of float32.
constexpr double kFloatError = 1e-6;
// From so many on a block has more threads.
constexpr int64_t kWideCols = 4096;

TEST_F(PrepareRowsTest, NormalizesChosenRows) {
  for (const int64_t cols :
       {int64_t{1}, int64_t{70}, int64_t{600}, kWideCols + 1}) {
    for (const int group : {1, 4, 8}) {
      SCOPED_TRACE(testing::Message() << cols << " in groups of " << group);
      const auto pieces = static_cast<size_t>((cols + 7) / 8);
      const DeviceVector<float> floats(16 * pieces * 8);
      Prepare({.group = group, .floats = floats.data()}, cols);
      const std::vector<float> got = floats.Get();
      const auto size = static_cast<size_t>(group);
      for (size_t row = 0; row < kIndices.size(); ++row) {
        for (size_t col = 0; col < pieces * 8; ++col) {
          const size_t piece =
              (row / size * pieces + col / 8) * size + row % size;
          const double exact = ExpectedAt(row, col);
          ASSERT_NEAR(got[piece * 8 + col % 8], exact,
                      kFloatError * std::fabs(exact));
        }
      }
    }
  }
}

TEST_F(PrepareRowsTest, HalvesAddUpToFloats) {
  for (const int64_t cols :
       {int64_t{1}, int64_t{16}, int64_t{131}, kWideCols}) {
    ExpectHalves<__half>(HeldFormat::kFloat16, cols, kFloatError + 0x1p-23);
    ExpectHalves<__nv_bfloat16>(HeldFormat::kBFloat16, cols,
                                kFloatError + 0x1p-17);
  }
}

TEST_F(PrepareRowsTest, RoundsOnce) {
  for (const int64_t cols :
       {int64_t{1}, int64_t{16}, int64_t{131}, kWideCols + 3}) {
    ExpectRounded<__half>(HeldFormat::kFloat16, cols, 0x1p-11);
    ExpectRounded<__nv_bfloat16>(HeldFormat::kBFloat16, cols, 0x1p-8);
  }
}

TEST(RoundedRowsTest, WhatIsFiniteStaysFinite) {
  const DeviceVector<float> x({1e6f, -1e6f, 65519.0f, INFINITY, NAN, 1, 2, 3});
  const DeviceVector<uint16_t> rounded(8);
  ASSERT_EQ(PrepareRows({.x = x.data(),
                         .cols = 8,
                         .num_rows = 1,
                         .to = {.format = HeldFormat::kFloat16,
                                .group = kMatrixGroup,
                                .rounded = rounded.data()}},
                        nullptr),
            cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  std::vector<float> got;
  for (const uint16_t bits : rounded.Get()) {
    got.push_back(ToFloat2(PairFromBits<__half>(bits)).x);
  }
  EXPECT_EQ(got[0], 65504.0f);
  EXPECT_EQ(got[1], -65504.0f);
  EXPECT_EQ(got[2], 65504.0f);
  EXPECT_EQ(got[3], INFINITY);
  EXPECT_TRUE(std::isnan(got[4]));
  EXPECT_EQ(got[7], 3.0f);
}

TEST_F(PrepareRowsTest, QuantizesBlocks) {
  for (const int group : {1, 4, 8}) ExpectBlocks(9, group);
  ExpectBlocks(kWideCols / 32 + 1, 4);
}

TEST_F(PrepareRowsTest, RefusesWhatDoesNotFit) {
  PrepareRowsArguments arguments = {
      .cols = 33, .num_rows = 0, .to = {.format = HeldFormat::kQ8}};
  EXPECT_EQ(PrepareRows(arguments, nullptr), cudaErrorInvalidValue);
  arguments.to.format = HeldFormat::kFloat16;
  arguments.to.group = 4;
  EXPECT_EQ(PrepareRows(arguments, nullptr), cudaErrorInvalidValue);
  arguments.to.group = kMatrixGroup;
  EXPECT_EQ(PrepareRows(arguments, nullptr), cudaSuccess);
  arguments.num_rows = -1;
  EXPECT_EQ(PrepareRows(arguments, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace caravan::worker::cuda
