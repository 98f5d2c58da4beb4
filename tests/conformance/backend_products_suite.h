// Products, norm and MLP of a Backend against plain double arithmetic, and
// their independence of the rows around them.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_PRODUCTS_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_PRODUCTS_SUITE_H_

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "tests/conformance/backend_fixture.h"

namespace caravan::worker {

// sum over k of weight[n][k] * x[k], and of the absolute values, to which
// rounding errors are in proportion.
struct ExactProduct {
  double value = 0;
  double magnitude = 0;
};
inline ExactProduct Dot(const float* weight, const double* x, int64_t count) {
  ExactProduct product;
  for (int64_t k = 0; k < count; ++k) {
    product.value += weight[k] * x[k];
    product.magnitude += std::abs(weight[k] * x[k]);
  }
  return product;
}

inline std::vector<double> Widened(const float* x, int64_t count) {
  return {x, x + count};
}

inline std::vector<double> ExactNorm(const float* x, const HostMatrix& weight,
                                     float epsilon) {
  double sum = 0;
  for (int64_t i = 0; i < weight.cols; ++i) sum += double{x[i]} * x[i];
  const double factor = 1 / std::sqrt(sum / weight.cols + epsilon);
  std::vector<double> normed(weight.cols);
  for (int64_t i = 0; i < weight.cols; ++i) {
    normed[i] = x[i] * factor * weight.values[i];
  }
  return normed;
}

inline constexpr double kProductTolerance = 1e-6;

struct ProductShape {
  int64_t rows;
  int64_t cols;
  int64_t outputs;
};
inline constexpr ProductShape kProductShapes[] = {
    {1, 1, 1},     {1, 7, 33},   {2, 257, 31},  {5, 512, 64},
    {13, 300, 65}, {40, 70, 97}, {97, 33, 129}, {200, 513, 40}};

class BackendProducts : public BackendSuite {};

TEST_P(BackendProducts, LinearIsTheProduct) {
  for (WeightFormat format : kPlainFormats) {
    const double tolerance =
        format == WeightFormat::kBFloat16  ? GetParam().bfloat16_tolerance
        : format == WeightFormat::kFloat16 ? GetParam().float16_tolerance
                                           : kProductTolerance;
    for (const ProductShape& shape : kProductShapes) {
      SCOPED_TRACE(::testing::Message()
                   << Name(format) << " rows=" << shape.rows
                   << " cols=" << shape.cols << " outputs=" << shape.outputs);
      const HostMatrix weight = RandomMatrix(shape.outputs, shape.cols, 1);
      const HostMatrix held = RoundTo(weight, format);
      const HostMatrix x = RandomMatrix(shape.rows, shape.cols, 2);
      const HostMatrix residual = RandomMatrix(shape.rows, shape.outputs, 3);
      const auto loaded = Load(*backend_, held, format, format);
      EXPECT_EQ(loaded->rows(), shape.outputs);
      EXPECT_EQ(loaded->cols(), shape.cols);
      EXPECT_GE(loaded->bytes(), ByteSize(format, shape.outputs * shape.cols));
      const DeviceMatrix device_x(*backend_, x);
      const DeviceMatrix plain(*backend_, shape.rows, shape.outputs);
      const DeviceMatrix added(*backend_, residual);
      CARAVAN_ASSERT_OK(backend_->Linear(device_x.tensor(), *loaded, nullptr,
                                         plain.tensor()));
      CARAVAN_ASSERT_OK(backend_->Linear(device_x.tensor(), *loaded,
                                         &added.tensor(), added.tensor()));
      const HostMatrix plain_out = plain.Read();
      const HostMatrix added_out = added.Read();
      for (int64_t row = 0; row < shape.rows; ++row) {
        const std::vector<double> wide = Widened(x.Row(row), x.cols);
        for (int64_t n = 0; n < shape.outputs; ++n) {
          const ExactProduct exact = Dot(held.Row(n), wide.data(), x.cols);
          const double most = tolerance * (exact.magnitude + 1);
          ASSERT_NEAR(plain_out.At(row, n), exact.value, most);
          ASSERT_NEAR(added_out.At(row, n), exact.value + residual.At(row, n),
                      most);
        }
      }
    }
  }
}

TEST_P(BackendProducts, WeightsAreConvertedWhenLoaded) {
  const HostMatrix weight = RandomMatrix(37, 45, 4);
  const HostMatrix x = RandomMatrix(3, 45, 5);
  for (WeightFormat from : kPlainFormats) {
    for (WeightFormat hold_as : kPlainFormats) {
      SCOPED_TRACE(::testing::Message()
                   << Name(from) << " held as " << Name(hold_as));
      const HostMatrix delivered = RoundTo(weight, from);
      const HostMatrix held = RoundTo(delivered, hold_as);
      const auto converted = Load(*backend_, delivered, from, hold_as);
      const auto direct = Load(*backend_, held, hold_as, hold_as);
      const DeviceMatrix device_x(*backend_, x);
      const DeviceMatrix out(*backend_, 3, 37);
      const DeviceMatrix expected(*backend_, 3, 37);
      CARAVAN_ASSERT_OK(backend_->Linear(device_x.tensor(), *converted, nullptr,
                                         out.tensor()));
      CARAVAN_ASSERT_OK(backend_->Linear(device_x.tensor(), *direct, nullptr,
                                         expected.tensor()));
      EXPECT_THAT(out.Read(), SameBitsAs(expected.Read()));
    }
  }
}

TEST_P(BackendProducts, GatedMlpIsSiluOfGateTimesUp) {
  constexpr float kEpsilon = 1e-5f;
  for (int64_t hidden : {8, 45, 300}) {
    for (int64_t width : {3, 32, 77}) {
      const HostMatrix gate_up = RandomMatrix(2 * width, hidden, 6);
      const HostMatrix x = RandomMatrix(99, hidden, 7, 3.0f);
      const HostMatrix norm = RandomMatrix(1, hidden, 8, 2.0f);
      const auto weight = Load(*backend_, gate_up, WeightFormat::kFloat32,
                               WeightFormat::kFloat32);
      const DeviceMatrix device_x(*backend_, x);
      const DeviceMatrix device_norm(*backend_, norm);
      const DeviceMatrix out(*backend_, x.rows, width);
      CARAVAN_ASSERT_OK(backend_->GatedMlp(device_x.tensor(),
                                           {device_norm.tensor(), kEpsilon},
                                           *weight, out.tensor()));
      const HostMatrix result = out.Read();
      for (int64_t row = 0; row < x.rows; ++row) {
        const std::vector<double> normed =
            ExactNorm(x.Row(row), norm, kEpsilon);
        for (int64_t n = 0; n < width; ++n) {
          const ExactProduct gate = Dot(gate_up.Row(n), normed.data(), hidden);
          const ExactProduct up =
              Dot(gate_up.Row(width + n), normed.data(), hidden);
          const double silu = gate.value / (1 + std::exp(-gate.value));
          const double most = 3e-6 * (gate.magnitude + 1) * (up.magnitude + 1);
          ASSERT_NEAR(result.At(row, n), silu * up.value, most)
              << "hidden=" << hidden << " width=" << width << " row=" << row
              << " n=" << n;
        }
      }
    }
  }
}

TEST_P(BackendProducts, HeadNormalizesChosenRows) {
  constexpr float kEpsilon = 1e-6f;
  const HostMatrix head = RandomMatrix(101, 61, 9);
  const HostMatrix x = RandomMatrix(20, 61, 10);
  const HostMatrix norm = RandomMatrix(1, 61, 11);
  const std::vector<int64_t> rows = {19, 0, 7, 7};
  const auto weight =
      Load(*backend_, head, WeightFormat::kFloat32, WeightFormat::kFloat32);
  const DeviceMatrix device_x(*backend_, x);
  const DeviceMatrix device_norm(*backend_, norm);
  const DeviceMatrix logits(*backend_, 4, 101);
  CARAVAN_ASSERT_OK(backend_->Head(device_x.tensor(), rows,
                                   {device_norm.tensor(), kEpsilon}, *weight,
                                   logits.tensor()));
  const HostMatrix result = logits.Read();
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<double> normed =
        ExactNorm(x.Row(rows[i]), norm, kEpsilon);
    for (int64_t n = 0; n < head.rows; ++n) {
      const ExactProduct exact = Dot(head.Row(n), normed.data(), head.cols);
      ASSERT_NEAR(result.At(i, n), exact.value,
                  kProductTolerance * (exact.magnitude + 1));
    }
  }
}

TEST_P(BackendProducts, EmbedTakesRowsAndLeavesOthersZero) {
  for (WeightFormat format : kPlainFormats) {
    const HostMatrix table = RoundTo(RandomMatrix(50, 21, 12), format);
    const auto weight = Load(*backend_, table, format, format);
    const std::vector<int32_t> ids = {100, 149, 131, 99, 150, 0, 117, 116};
    const DeviceMatrix out(
        *backend_, RandomMatrix(static_cast<int64_t>(ids.size()), 21, 13));
    CARAVAN_ASSERT_OK(backend_->Embed(*weight, 100, {ids}, out.tensor()));
    const HostMatrix result = out.Read();
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool held = ids[i] >= 100 && ids[i] < 150;
      for (int64_t k = 0; k < 21; ++k) {
        ASSERT_EQ(result.At(i, k), held ? table.At(ids[i] - 100, k) : 0.0f)
            << "id=" << ids[i];
      }
    }
  }
}

// All three products of `x` with weights of some shape, one beside the other.
inline HostMatrix AllProducts(Backend& backend, const HostMatrix& x,
                              WeightFormat format) {
  constexpr int64_t kOutputs = 118;
  const HostMatrix matrix = RoundTo(RandomMatrix(kOutputs, x.cols, 14), format);
  const HostMatrix norm = RandomMatrix(1, x.cols, 15);
  auto weight = backend.LoadWeight(ReaderOf(matrix, format), format);
  EXPECT_THAT(weight, testing::IsOk());
  const DeviceMatrix device_x(backend, x);
  const DeviceMatrix device_norm(backend, norm);
  const Norm device{device_norm.tensor(), 1e-5f};
  const DeviceMatrix linear(backend, x.rows, kOutputs);
  const DeviceMatrix gated(backend, x.rows, kOutputs / 2);
  const DeviceMatrix logits(backend, x.rows, kOutputs);
  std::vector<int64_t> rows(x.rows);
  std::iota(rows.begin(), rows.end(), 0);
  CARAVAN_EXPECT_OK(
      backend.Linear(device_x.tensor(), **weight, nullptr, linear.tensor()));
  CARAVAN_EXPECT_OK(
      backend.GatedMlp(device_x.tensor(), device, **weight, gated.tensor()));
  CARAVAN_EXPECT_OK(
      backend.Head(device_x.tensor(), rows, device, **weight, logits.tensor()));
  HostMatrix all{x.rows, 2 * kOutputs + kOutputs / 2, {}};
  const HostMatrix parts[] = {linear.Read(), gated.Read(), logits.Read()};
  for (int64_t row = 0; row < x.rows; ++row) {
    for (const HostMatrix& part : parts) {
      all.values.insert(all.values.end(), part.Row(row),
                        part.Row(row) + part.cols);
    }
  }
  return all;
}

TEST_P(BackendProducts, RowsDoNotDependOnTheBatch) {
  const int64_t most_rows = GetParam().most_invariant_rows;
  const HostMatrix x = RandomMatrix(most_rows, 608, 16);
  for (WeightFormat format : kAllFormats) {
    const HostMatrix whole = AllProducts(*backend_, x, format);
    // Few rows, and on both sides of what kernels take at a time.
    for (const int64_t num_rows :
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 25, 30}) {
      const int64_t first = std::min(num_rows * 3, most_rows - num_rows);
      ASSERT_THAT(AllProducts(*backend_, x.Rows(first, num_rows), format),
                  SameBitsAs(whole.Rows(first, num_rows)))
          << Name(format) << " num_rows=" << num_rows;
    }
  }
}

TEST_P(BackendProducts, ResultsDoNotDependOnTheThreads) {
  const HostMatrix x = RandomMatrix(30, 608, 17);
  for (WeightFormat format : kAllFormats) {
    const HostMatrix expected = AllProducts(*Make(1), x, format);
    for (int num_threads : {2, 3}) {
      EXPECT_THAT(AllProducts(*Make(num_threads), x, format),
                  SameBitsAs(expected))
          << Name(format) << " num_threads=" << num_threads;
    }
  }
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_PRODUCTS_SUITE_H_
