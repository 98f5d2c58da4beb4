// The kernels of products beside each other: a row's bits are the same
// whichever computes it. What they are is the conformance suite's matter.
#include "worker/backend/cuda/product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"
#include "tests/worker/backend/cuda/product_matrices.h"
#include "worker/backend/cuda/prepare_rows.h"

namespace caravan::worker::cuda {

namespace {

struct Options {
  bool gated = false;
  // Outputs from here on go elsewhere; and what is added to the others.
  std::optional<int64_t> split;
  std::optional<std::vector<float>> residual;
};

// (rows, outputs), whichever way they were split.
std::vector<float> Multiply(const HeldMatrix& weight,
                            const std::vector<float>& x, int group,
                            const Options& options = {}) {
  const WeightView& view = weight.view();
  const int64_t num_rows = static_cast<int64_t>(x.size()) / view.cols;
  const int64_t outputs = options.gated ? view.rows / 2 : view.rows;
  const int64_t split = options.split.value_or(outputs);
  const PreparedRows rows(view, x, num_rows, group);
  const DeviceVector<float> out(static_cast<size_t>(num_rows * split));
  const DeviceVector<float> second(
      static_cast<size_t>(num_rows * (outputs - split) + 1));
  if (options.residual.has_value()) {
    EXPECT_EQ(cudaMemcpy(out.data(), options.residual->data(),
                         out.size() * sizeof(float), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  const ProductArguments arguments = {
      .weight = view,
      .x = rows.input(),
      .num_rows = num_rows,
      .out = out.data(),
      .out_stride = split,
      .second = second.data(),
      .second_stride = outputs - split,
      .split = split,
      .residual = options.residual.has_value() ? out.data() : nullptr,
      .residual_stride = split};
  EXPECT_EQ(options.gated ? GatedProduct(arguments, nullptr)
                          : Product(arguments, nullptr),
            cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const std::vector<float> left = out.Get();
  const std::vector<float> right = second.Get();
  std::vector<float> all;
  for (int64_t row = 0; row < num_rows; ++row) {
    all.insert(all.end(), left.begin() + row * split,
               left.begin() + (row + 1) * split);
    all.insert(all.end(), right.begin() + row * (outputs - split),
               right.begin() + (row + 1) * (outputs - split));
  }
  return all;
}

class ProductTest : public testing::TestWithParam<HeldFormat> {
 protected:
  static constexpr int64_t kMostRows = 200;

  // Without tensor cores where they are not all there is.
  static int SmallestGroup() { return IsHalf(GetParam()) ? kMatrixGroup : 1; }

  // The first rows of `x` by all kernels, against `expected`.
  static void ExpectSameRows(const HeldMatrix& weight,
                             const std::vector<float>& x,
                             const std::vector<int64_t>& numbers_of_rows,
                             const Options& options) {
    const int64_t cols = weight.view().cols;
    const int64_t outputs =
        options.gated ? weight.view().rows / 2 : weight.view().rows;
    const int reference_group = IsHalf(GetParam()) ? kMatrixGroup : 4;
    const std::vector<float> expected =
        Multiply(weight, x, reference_group, options);
    for (const int64_t num_rows : numbers_of_rows) {
      SCOPED_TRACE(testing::Message()
                   << "rows=" << num_rows << " gated=" << options.gated
                   << " outputs=" << outputs << " cols=" << cols);
      const std::vector<float> some(x.begin(), x.begin() + num_rows * cols);
      EXPECT_TRUE(SameBits(Multiply(weight, some, kMatrixGroup, options),
                           expected, outputs));
      if (num_rows > 1 || IsHalf(GetParam())) continue;
      EXPECT_TRUE(
          SameBits(Multiply(weight, some, 1, options), expected, outputs));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(All, ProductTest, AllFormats(), NameOfFormat);

// Tiles that are not full, on every side.
TEST_P(ProductTest, ARowHasTheSameBitsInAnyBatch) {
  // Nine steps: parts of the inputs of unequal size.
  const int64_t cols = IsQuantized(GetParam()) ? 288 : 144;
  const HeldMatrix weight(GetParam(), 130, cols);
  const std::vector<float> x = RandomFloats(kMostRows * cols);
  ExpectSameRows(weight, x, {1, 7, 8, 9, 31, 33, 64, 65, kMostRows}, {});
}

// The second half begins in the middle of a tile, and of a word of scales.
TEST_P(ProductTest, ARowHasTheSameBitsInAnyBatchGated) {
  for (const int64_t outputs : {1, 33, 79}) {
    const HeldMatrix weight(GetParam(), 2 * outputs, 96);
    ExpectSameRows(weight, RandomFloats(66 * 96), {1, 9, 66}, {.gated = true});
  }
}

// Down to one step, with which all parts of the inputs but one are empty.
TEST_P(ProductTest, AnyNumberOfInputs) {
  for (const int64_t steps : {1, 2, 7, 9, 16}) {
    const HeldMatrix weight(GetParam(), 20, steps * 32);
    ExpectSameRows(weight, RandomFloats(65 * steps * 32), {10, 65}, {});
  }
  if (IsQuantized(GetParam())) return;
  for (const int64_t cols : {1, 9, 131}) {
    const HeldMatrix weight(GetParam(), 20, cols);
    ExpectSameRows(weight, RandomFloats(65 * cols), {10, 65}, {});
  }
}

TEST_P(ProductTest, WritesWhereItIsTold) {
  const HeldMatrix weight(GetParam(), 70, 64);
  for (const int64_t num_rows : {1, 5, 12, 70}) {
    SCOPED_TRACE(num_rows);
    const std::vector<float> x = RandomFloats(num_rows * 64);
    const int group = GroupFor(GetParam(), num_rows);
    const std::vector<float> whole = Multiply(weight, x, group);
    EXPECT_TRUE(SameBits(Multiply(weight, x, group, {.split = 41}), whole, 70));
    const std::vector<float> residual = RandomFloats(num_rows * 70);
    std::vector<float> added = whole;
    for (size_t i = 0; i < added.size(); ++i) added[i] += residual[i];
    EXPECT_TRUE(SameBits(Multiply(weight, x, group, {.residual = residual}),
                         added, 70));
  }
}

TEST_P(ProductTest, TheInputFitsTheWeight) {
  const HeldMatrix weight(GetParam(), 3, 32);
  const PreparedRows rows(weight.view(), RandomFloats(32), 1, SmallestGroup());
  const DeviceVector<float> out(3);
  ProductArguments arguments = {.weight = weight.view(),
                                .x = rows.input(),
                                .num_rows = 1,
                                .out = out.data(),
                                .out_stride = 3,
                                .split = 3};
  EXPECT_EQ(GatedProduct(arguments, nullptr), cudaErrorInvalidValue);
  arguments.x.group = 2;
  EXPECT_EQ(Product(arguments, nullptr), cudaErrorInvalidValue);
  arguments.x = rows.input();
  arguments.x.format =
      GetParam() == HeldFormat::kQ8 ? HeldFormat::kQ4 : HeldFormat::kQ8;
  EXPECT_EQ(Product(arguments, nullptr), cudaErrorInvalidValue);
  arguments.x = rows.input();
  arguments.num_rows = -1;
  EXPECT_EQ(Product(arguments, nullptr), cudaErrorInvalidValue);
  arguments.num_rows = 0;
  EXPECT_EQ(Product(arguments, nullptr), cudaSuccess);
}

// As near as prepare_rows.h says, whatever the size of x.
TEST(HalfProductTest, IsTheProductOfFloats) {
  constexpr int64_t kCols = 131;
  constexpr int64_t kOutputs = 40;
  for (const HeldFormat format :
       {HeldFormat::kFloat16, HeldFormat::kBFloat16}) {
    const double precision = format == HeldFormat::kFloat16 ? 0x1p-23 : 0x1p-17;
    const HeldMatrix weight(format, kOutputs, kCols);
    for (const float size : {1e-37f, 1e-30f, 1e-3f, 1.0f, 1e5f, 1e37f}) {
      std::vector<float> x = RandomFloats(9 * kCols);
      for (float& value : x) value *= size;
      const std::vector<float> out = Multiply(weight, x, kMatrixGroup);
      for (int64_t row = 0; row < 9; ++row) {
        for (int64_t n = 0; n < kOutputs; ++n) {
          double exact = 0;
          double magnitude = 0;
          for (int64_t k = 0; k < kCols; ++k) {
            const double product =
                double{x[static_cast<size_t>(row * kCols + k)]} *
                weight.At(n * kCols + k);
            exact += product;
            magnitude += std::fabs(product);
          }
          // Float32 sums add some of their own.
          ASSERT_NEAR(out[static_cast<size_t>(row * kOutputs + n)], exact,
                      magnitude * (precision + 0x1p-21))
              << "size=" << size << " row=" << row << " output=" << n;
        }
      }
    }
  }
}

// Units and tiles that are not full; the second half of a gated product begins
// in the middle of a tile.
TEST(HalfProductTest, RowMajorWeightsGiveTheSameBits) {
  for (const HeldFormat format :
       {HeldFormat::kFloat16, HeldFormat::kBFloat16}) {
    for (const int64_t cols : {1, 8, 131, 144}) {
      const HeldMatrix tiled(format, 166, cols);
      const HeldMatrix row_major = tiled.RowMajor();
      for (const int64_t num_rows : {1, 9, 66}) {
        const std::vector<float> x = RandomFloats(num_rows * cols);
        for (const bool gated : {false, true}) {
          EXPECT_TRUE(
              SameBits(Multiply(row_major, x, kMatrixGroup, {.gated = gated}),
                       Multiply(tiled, x, kMatrixGroup, {.gated = gated}), 166))
              << "cols=" << cols << " rows=" << num_rows << " gated=" << gated;
        }
      }
    }
  }
}

TEST(HalfProductTest, ARowThatIsNotFiniteIsNanAndHarmsNoOther) {
  for (const HeldFormat format :
       {HeldFormat::kFloat16, HeldFormat::kBFloat16}) {
    const HeldMatrix weight(format, 5, 40);
    std::vector<float> x = RandomFloats(20 * 40);
    const std::vector<float> good = Multiply(weight, x, kMatrixGroup);
    x[3 * 40 + 39] = INFINITY;
    x[9 * 40] = NAN;
    const std::vector<float> bad = Multiply(weight, x, kMatrixGroup);
    for (size_t i = 0; i < bad.size(); ++i) {
      if (i / 5 == 3 || i / 5 == 9) {
        EXPECT_TRUE(std::isnan(bad[i])) << i;
      } else {
        EXPECT_EQ(bad[i], good[i]) << i;
      }
    }
  }
}

}  // namespace
}  // namespace caravan::worker::cuda
