#include "worker/backend/cuda/rms_norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/numbers.cuh"

namespace caravan::worker::cuda {
namespace {

constexpr float kEpsilon = 1e-5f;

template <typename T>
class RmsNormTest : public testing::Test {
 protected:
  // Of a result around 1, in the type's own precision.
  static constexpr double Tolerance() {
    if (std::is_same_v<T, float>) return 1e-5;
    return std::is_same_v<T, __half> ? 2e-3 : 1.6e-2;
  }

  std::vector<T> Random(size_t count) {
    std::normal_distribution<float> normal(0, 1);
    std::vector<T> values(count);
    for (T& value : values) value = FromFloat<T>(normal(random_));
    return values;
  }

  void CheckRows(const std::vector<T>& x, const std::vector<float>& weight,
                 const std::vector<T>& out) {
    const size_t cols = weight.size();
    for (size_t row = 0; row < x.size() / cols; ++row) {
      double sum = 0;
      for (size_t i = 0; i < cols; ++i) {
        const double value = ToFloat(x[row * cols + i]);
        sum += value * value;
      }
      const double factor = 1 / std::sqrt(sum / cols + kEpsilon);
      for (size_t i = 0; i < cols; ++i) {
        const double expected = ToFloat(x[row * cols + i]) * factor * weight[i];
        ASSERT_NEAR(ToFloat(out[row * cols + i]), expected,
                    Tolerance() * (1 + std::fabs(expected)))
            << "row " << row << " column " << i;
      }
    }
  }

  std::mt19937 random_{7};
};
using Types = testing::Types<float, __half, __nv_bfloat16>;
TYPED_TEST_SUITE(RmsNormTest, Types);

TYPED_TEST(RmsNormTest, ScalesEachRow) {
  struct Shape {
    int64_t rows;
    int cols;
  };
  for (const Shape shape : {Shape{1, 2}, Shape{3, 64}, Shape{2, 510},
                            Shape{1, 512}, Shape{5, 514}, Shape{1, 8192}}) {
    SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.cols);
    const auto count = static_cast<size_t>(shape.rows * shape.cols);
    const std::vector<TypeParam> x = this->Random(count);
    std::vector<float> weight(static_cast<size_t>(shape.cols));
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = 0.5f + i % 7 * 0.1f;
    const DeviceVector<TypeParam> device_x(x);
    const DeviceVector<float> device_weight(weight);
    const DeviceVector<TypeParam> out(count);
    ASSERT_EQ(RmsNorm({.x = device_x.data(),
                       .weight = device_weight.data(),
                       .out = out.data(),
                       .rows = shape.rows,
                       .cols = shape.cols,
                       .epsilon = kEpsilon},
                      nullptr),
              cudaSuccess);
    this->CheckRows(x, weight, out.Get());
  }
}

TYPED_TEST(RmsNormTest, MayWriteWhereItReads) {
  const std::vector<TypeParam> x = this->Random(3 * 576);
  const std::vector<float> weight(576, 1.0f);
  const DeviceVector<TypeParam> device_x(x);
  const DeviceVector<float> device_weight(weight);
  ASSERT_EQ(RmsNorm({.x = device_x.data(),
                     .weight = device_weight.data(),
                     .out = device_x.data(),
                     .rows = 3,
                     .cols = 576,
                     .epsilon = kEpsilon},
                    nullptr),
            cudaSuccess);
  this->CheckRows(x, weight, device_x.Get());
}

// The numerics contract: a row's bits do not depend on the rows beside it.
TYPED_TEST(RmsNormTest, RowDoesNotDependOnTheBatch) {
  const std::vector<TypeParam> x = this->Random(4 * 130);
  const DeviceVector<TypeParam> device_x(x);
  const DeviceVector<float> weight(std::vector<float>(130, 0.75f));
  const DeviceVector<TypeParam> together(x.size());
  const DeviceVector<TypeParam> alone(130);
  RmsNormArguments<TypeParam> arguments = {.x = device_x.data(),
                                           .weight = weight.data(),
                                           .out = together.data(),
                                           .rows = 4,
                                           .cols = 130,
                                           .epsilon = kEpsilon};
  ASSERT_EQ(RmsNorm(arguments, nullptr), cudaSuccess);
  arguments.x = device_x.data() + 2 * 130;
  arguments.out = alone.data();
  arguments.rows = 1;
  ASSERT_EQ(RmsNorm(arguments, nullptr), cudaSuccess);
  const std::vector<TypeParam> all = together.Get();
  const std::vector<TypeParam> one = alone.Get();
  for (size_t i = 0; i < one.size(); ++i) {
    ASSERT_EQ(ToFloat(all[2 * 130 + i]), ToFloat(one[i])) << i;
  }
}

TYPED_TEST(RmsNormTest, RefusesShapesThatItCannotCompute) {
  RmsNormArguments<TypeParam> arguments = {.rows = 1, .cols = 3};
  EXPECT_EQ(RmsNorm(arguments, nullptr), cudaErrorInvalidValue);
  arguments.cols = 0;
  EXPECT_EQ(RmsNorm(arguments, nullptr), cudaErrorInvalidValue);
  arguments = {.rows = -1, .cols = 2};
  EXPECT_EQ(RmsNorm(arguments, nullptr), cudaErrorInvalidValue);
  arguments.rows = 0;  // nothing to do
  EXPECT_EQ(RmsNorm(arguments, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace caravan::worker::cuda
