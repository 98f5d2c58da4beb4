#include "worker/backend/cuda/library_product.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/emulated_device/cublaslt/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/numbers.cuh"
#include "worker/backend/cuda/recorded_graph.h"

namespace caravan::worker::cuda {
namespace {

using ::caravan::testing::IsOkAndHolds;

constexpr int64_t kRows = 5;
constexpr int64_t kOutputs = 7;
constexpr int64_t kInputs = 16;
constexpr int64_t kStride = 12;

// Whole numbers, which all sums are exact for.
float Weight(int64_t output, int64_t input) {
  return static_cast<float>((output * 5 + input * 3) % 7 - 3);
}
float X(int64_t row, int64_t input) {
  return static_cast<float>((row * 2 + input) % 5 - 2);
}

template <typename T>
std::vector<T> Matrix(float (*value)(int64_t, int64_t), int64_t rows) {
  std::vector<T> values;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < kInputs; ++i) {
      values.push_back(FromFloat<T>(value(row, i)));
    }
  }
  return values;
}

class LibraryProductTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(library_, LibraryProduct::Create(*context_));
  }
  void TearDown() override {
    CARAVAN_EXPECT_OK(context_->Wait());
    emulated::RefuseMatmuls(false);
  }

  LibraryProductArguments Arguments() const {
    return {.format = HeldFormat::kBFloat16,
            .num_rows = kRows,
            .num_outputs = kOutputs,
            .num_inputs = kInputs,
            .weight = weight_.data(),
            .x = x_.data(),
            .out = out_.data(),
            .out_stride = kStride};
  }
  // What is added to each output that was made, and that no other was touched.
  void ExpectProduct(float added, float untouched) {
    CARAVAN_ASSERT_OK(context_->Wait());
    const std::vector<float> got = out_.Get();
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t n = 0; n < kStride; ++n) {
        float wanted = n < kOutputs ? added : untouched;
        for (int64_t i = 0; n < kOutputs && i < kInputs; ++i) {
          wanted += Weight(n, i) * X(row, i);
        }
        ASSERT_EQ(got[static_cast<size_t>(row * kStride + n)], wanted)
            << "row=" << row << " output=" << n;
      }
    }
  }
  void Fill(float value) {
    out_.Set(std::vector<float>(kRows * kStride, value));
  }

  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<LibraryProduct> library_;
  const DeviceVector<__nv_bfloat16> weight_{
      Matrix<__nv_bfloat16>(Weight, kOutputs)};
  const DeviceVector<__nv_bfloat16> x_{Matrix<__nv_bfloat16>(X, kRows)};
  DeviceVector<float> out_{kRows * kStride};
};

TEST_F(LibraryProductTest, MultipliesRowsAndKeepsToItsColumns) {
  Fill(7);
  EXPECT_THAT(library_->Multiply(Arguments()), IsOkAndHolds(true));
  ExpectProduct(0, 7);
  const DeviceVector<__half> weight(Matrix<__half>(Weight, kOutputs));
  const DeviceVector<__half> x(Matrix<__half>(X, kRows));
  LibraryProductArguments halves = Arguments();
  halves.format = HeldFormat::kFloat16;
  halves.weight = weight.data();
  halves.x = x.data();
  Fill(8);
  EXPECT_THAT(library_->Multiply(halves), IsOkAndHolds(true));
  ExpectProduct(0, 8);
}

TEST_F(LibraryProductTest, AddsAResidualWhereItIsOrElsewhere) {
  Fill(7);
  LibraryProductArguments arguments = Arguments();
  arguments.residual = out_.data();
  EXPECT_THAT(library_->Multiply(arguments), IsOkAndHolds(true));
  ExpectProduct(7, 7);
  const DeviceVector<float> other(std::vector<float>(kRows * kStride, 3));
  arguments.residual = other.data();
  EXPECT_THAT(library_->Multiply(arguments), IsOkAndHolds(true));
  ExpectProduct(3, 7);
}

TEST_F(LibraryProductTest, EnqueuesNothingWhereTheLibraryHasNoWay) {
  Fill(7);
  const emulated::EnqueueCalls before = emulated::EnqueueCallsMade(0);
  LibraryProductArguments misplaced = Arguments();
  misplaced.out = out_.data() + 1;
  EXPECT_THAT(library_->Multiply(misplaced), IsOkAndHolds(false));
  emulated::RefuseMatmuls(true);
  EXPECT_THAT(library_->Multiply(Arguments()), IsOkAndHolds(false));
  EXPECT_EQ(emulated::EnqueueCallsMade(0).operations, before.operations);
  // What it said of a shape stands.
  emulated::RefuseMatmuls(false);
  EXPECT_THAT(library_->Multiply(Arguments()), IsOkAndHolds(false));
  LibraryProductArguments other = Arguments();
  other.num_rows = kRows - 1;
  EXPECT_THAT(library_->Multiply(other), IsOkAndHolds(true));
}

TEST_F(LibraryProductTest, IsRecordedForShapesThatItKnows) {
  Fill(7);
  bool known = false;
  const auto record = [&] {
    return RecordedGraph::Record(*context_, [&]() -> absl::Status {
      CARAVAN_ASSIGN_OR_RETURN(known, library_->Multiply(Arguments()));
      return absl::OkStatus();
    });
  };
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto without, record());
  EXPECT_FALSE(known);
  EXPECT_THAT(library_->Multiply(Arguments()), IsOkAndHolds(true));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto graph, record());
  EXPECT_TRUE(known);
  Fill(9);
  CARAVAN_ASSERT_OK(graph->Launch());
  ExpectProduct(0, 9);
}

TEST_F(LibraryProductTest, TakesItsMemoryAtOnce) {
  const emulated::MemoryCalls before = emulated::MemoryCallsMade();
  EXPECT_THAT(library_->Multiply(Arguments()), IsOkAndHolds(true));
  EXPECT_EQ(emulated::MemoryCallsMade(), before);
  const int64_t bytes = emulated::AllocatedBytes(0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto other,
                               LibraryProduct::Create(*context_));
  EXPECT_EQ(emulated::AllocatedBytes(0) - bytes, kLibraryWorkspaceBytes);
}

}  // namespace
}  // namespace caravan::worker::cuda
