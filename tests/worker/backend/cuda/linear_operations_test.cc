// Whose product it is, the library's or ours; what products are is the
// conformance suites' matter.
#include "worker/backend/cuda/linear_operations.h"

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/emulated_device/cublaslt/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/device_vector.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kLibraryRows = 6;
constexpr int64_t kCols = 20;
constexpr int64_t kWeightRows = 34;

std::vector<float> Numbers(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 7 % 31) / 32 - 0.4f;
  }
  return values;
}

class LinearOperationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
  }
  void TearDown() override {
    CARAVAN_EXPECT_OK(context_->Wait());
    emulated::RefuseMatmuls(false);
  }

  // A weight of such numbers.
  std::unique_ptr<CudaWeight> Load(WeightFormat hold_as, bool row_major) {
    WeightLoader loader(*context_, row_major);
    auto weight = loader.Load(
        {.format = WeightFormat::kFloat32,
         .rows = kWeightRows,
         .cols = kCols,
         .read_rows =
             [](int64_t first, int64_t num_rows, absl::Span<std::byte> out) {
               const std::vector<float> all = Numbers(kWeightRows * kCols);
               std::memcpy(out.data(), &all[first * kCols],
                           num_rows * kCols * sizeof(float));
               return absl::OkStatus();
             }},
        hold_as);
    CARAVAN_EXPECT_OK(weight);
    CARAVAN_EXPECT_OK(loader.Release());
    return *std::move(weight);
  }

  static Tensor Of(const DeviceVector<float>& values, int64_t cols) {
    return {values.data(), DType::kFloat32,
            static_cast<int64_t>(values.size()) / cols, cols};
  }

  // x . weight + residual, which is where it goes; then the gated product of x.
  std::vector<float> Products(LinearOperations& linear,
                              const CudaWeight& weight, int64_t num_rows) {
    const DeviceVector<float> x(Numbers(num_rows * kCols));
    const DeviceVector<float> out(Numbers(num_rows * kWeightRows));
    const DeviceVector<float> gated(
        static_cast<size_t>(num_rows * kWeightRows / 2));
    const DeviceVector<float> norm(std::vector<float>(kCols, 1));
    const Tensor residual = Of(out, kWeightRows);
    CARAVAN_EXPECT_OK(linear.Linear(Of(x, kCols), weight, &residual, residual));
    CARAVAN_EXPECT_OK(linear.GatedMlp(Of(x, kCols), {Of(norm, kCols), 1e-5f},
                                      weight, Of(gated, kWeightRows / 2)));
    CARAVAN_EXPECT_OK(context_->Wait());
    std::vector<float> all = out.Get();
    for (const float value : gated.Get()) all.push_back(value);
    return all;
  }

  std::unique_ptr<DeviceContext> context_;
};

TEST_F(LinearOperationsTest, ManyRowsAreTheLibrarysUnlessItHasNoWay) {
  const auto tiled = Load(WeightFormat::kBFloat16, /*row_major=*/false);
  const auto row_major = Load(WeightFormat::kBFloat16, /*row_major=*/true);
  LinearOperations ours(*context_, /*least_library_rows=*/0);
  CARAVAN_ASSERT_OK(ours.Reserve(*tiled));
  LinearOperations librarys(*context_, kLibraryRows);
  CARAVAN_ASSERT_OK(librarys.Reserve(*row_major));
  const std::vector<float> many = Products(ours, *tiled, kLibraryRows);
  EXPECT_NE(Products(librarys, *row_major, kLibraryRows), many);
  EXPECT_EQ(Products(librarys, *row_major, kLibraryRows - 1),
            Products(ours, *tiled, kLibraryRows - 1));
  emulated::RefuseMatmuls(true);
  LinearOperations refused(*context_, kLibraryRows);
  CARAVAN_ASSERT_OK(refused.Reserve(*row_major));
  EXPECT_EQ(Products(refused, *row_major, kLibraryRows), many);
}

TEST_F(LinearOperationsTest, TheLibraryIsStartedByTheFirstWeightThatWantsIt) {
  const auto plain = Load(WeightFormat::kFloat32, /*row_major=*/true);
  const auto row_major = Load(WeightFormat::kBFloat16, /*row_major=*/true);
  LinearOperations linear(*context_, kLibraryRows);
  const auto taken = [&](const CudaWeight& weight) {
    const int64_t before = emulated::AllocatedBytes(0);
    CARAVAN_EXPECT_OK(linear.Reserve(weight));
    return emulated::AllocatedBytes(0) - before;
  };
  const int64_t prepared = kRowsAtOnce * (32 + 1) * 4;
  EXPECT_EQ(taken(*plain), prepared);
  EXPECT_EQ(taken(*row_major), kGateBytes + kLibraryWorkspaceBytes);
  EXPECT_EQ(taken(*row_major), 0);
  LinearOperations ours(*context_, /*least_library_rows=*/0);
  const int64_t before = emulated::AllocatedBytes(0);
  CARAVAN_EXPECT_OK(ours.Reserve(*row_major));
  EXPECT_EQ(emulated::AllocatedBytes(0) - before, prepared);
}

}  // namespace
}  // namespace caravan::worker::cuda
