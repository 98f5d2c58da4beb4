// Products of a Backend with quantized weights: exact but for float rounding of
// what backend.h says is computed, and for values at every limit.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_QUANTIZED_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_QUANTIZED_SUITE_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/backend_products_suite.h"

namespace caravan::worker {

// A matrix in blocks and what they stand for.
struct BlockMatrix {
  WeightFormat format = WeightFormat::kQ8;
  HostMatrix decoded;
  std::vector<std::byte> bytes;

  BlockMatrix(WeightFormat format, int64_t rows, int64_t cols,
              std::vector<std::byte> blocks)
      : format(format),
        decoded{rows, cols, std::vector<float>(rows * cols)},
        bytes(std::move(blocks)) {
    Decode(format, bytes, absl::MakeSpan(decoded.values));
  }
  BlockMatrix(WeightFormat format, const HostMatrix& from)
      : BlockMatrix(format, from.rows, from.cols,
                    ToBytes(from.values, format)) {}

  MatrixReader Reader() const {
    return {.format = format,
            .rows = decoded.rows,
            .cols = decoded.cols,
            .read_rows = [this](int64_t first, int64_t num_rows,
                                absl::Span<std::byte> out) {
              const int64_t row = ByteSize(format, decoded.cols);
              EXPECT_EQ(static_cast<int64_t>(out.size()), num_rows * row);
              std::memcpy(out.data(), bytes.data() + first * row, out.size());
              return absl::OkStatus();
            }};
  }
};

// What a row of x becomes before it is multiplied.
inline std::vector<double> QuantizedRow(const float* x, int64_t count) {
  std::vector<double> row(count);
  for (int64_t begin = 0; begin < count; begin += kBlockElements) {
    float largest = 0;
    for (int64_t k = begin; k < begin + kBlockElements; ++k) {
      largest = std::max(largest, std::abs(x[k]));
    }
    if (largest < 0x1p-100f) continue;  // zeros
    const float scale = largest / 127.0f;
    const float inverse = 127.0f / largest;
    for (int64_t k = begin; k < begin + kBlockElements; ++k) {
      // The default rounding mode is to nearest even.
      row[k] = double{scale} * std::nearbyint(x[k] * inverse);
    }
  }
  return row;
}

// Magnitudes count what cancels within a block: each value of 4 bits is a
// difference of two.
inline ExactProduct QuantizedDot(const BlockMatrix& weight, int64_t output,
                                 const std::vector<double>& x) {
  const float* row = weight.decoded.Row(output);
  ExactProduct product = Dot(row, x.data(), weight.decoded.cols);
  double largest = 0;
  for (int64_t k = 0; k < weight.decoded.cols; ++k) {
    largest = std::max(largest, double{std::abs(row[k])});
  }
  for (double value : x) product.magnitude += largest * std::abs(value);
  return product;
}

inline constexpr ProductShape kQuantizedShapes[] = {
    {1, 32, 1},    {1, 64, 33},   {2, 1056, 31}, {3, 32, 64},   {4, 544, 65},
    {5, 512, 64},  {6, 96, 127},  {7, 640, 3},   {9, 320, 97},  {16, 2048, 40},
    {17, 96, 129}, {40, 288, 97}, {97, 32, 129}, {130, 544, 40}};

class BackendQuantized : public BackendSuite {
 protected:
  std::unique_ptr<Weight> LoadBlocks(const BlockMatrix& matrix) {
    auto weight = backend_->LoadWeight(matrix.Reader(), matrix.format);
    EXPECT_THAT(weight, testing::IsOk());
    return *std::move(weight);
  }

  HostMatrix Linear(const Weight& weight, const HostMatrix& x,
                    const HostMatrix* residual = nullptr) {
    const DeviceMatrix device_x(*backend_, x);
    DeviceMatrix out(*backend_, x.rows, weight.rows());
    if (residual != nullptr) out.Write(*residual);
    CARAVAN_EXPECT_OK(backend_->Linear(
        device_x.tensor(), weight,
        residual == nullptr ? nullptr : &out.tensor(), out.tensor()));
    return out.Read();
  }

  // Every element of Linear, with and without a residual.
  void ExpectProducts(const BlockMatrix& weight, const HostMatrix& x) {
    const auto loaded = LoadBlocks(weight);
    const HostMatrix residual = RandomMatrix(x.rows, loaded->rows(), 3);
    const HostMatrix plain = Linear(*loaded, x);
    const HostMatrix added = Linear(*loaded, x, &residual);
    for (int64_t row = 0; row < x.rows; ++row) {
      const std::vector<double> quantized = QuantizedRow(x.Row(row), x.cols);
      for (int64_t n = 0; n < loaded->rows(); ++n) {
        const ExactProduct exact = QuantizedDot(weight, n, quantized);
        const double most = kProductTolerance * exact.magnitude;
        ASSERT_NEAR(plain.At(row, n), exact.value, most)
            << "row=" << row << " output=" << n;
        ASSERT_NEAR(added.At(row, n), exact.value + residual.At(row, n),
                    most + kProductTolerance);
      }
    }
  }
};

TEST_P(BackendQuantized, LinearIsTheProductOfWhatIsQuantized) {
  for (WeightFormat format : kQuantizedFormats) {
    for (const ProductShape& shape : kQuantizedShapes) {
      SCOPED_TRACE(::testing::Message()
                   << Name(format) << " rows=" << shape.rows
                   << " cols=" << shape.cols << " outputs=" << shape.outputs);
      const BlockMatrix weight(format,
                               RandomMatrix(shape.outputs, shape.cols, 1));
      ExpectProducts(weight, RandomMatrix(shape.rows, shape.cols, 2));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(BackendQuantized, AnyNumberOfRows) {
  for (WeightFormat format : kQuantizedFormats) {
    const BlockMatrix weight(format, RandomMatrix(50, 96, 4));
    for (int64_t num_rows = 1; num_rows <= 40; ++num_rows) {
      SCOPED_TRACE(::testing::Message() << Name(format) << " " << num_rows);
      ExpectProducts(weight, RandomMatrix(num_rows, 96, 5));
      if (HasFatalFailure()) return;
    }
  }
}

// All quants at one end and all of x at one end: no sum overflows.
TEST_P(BackendQuantized, TheLargestQuants) {
  constexpr int64_t kCols = 1024;
  for (WeightFormat format : kQuantizedFormats) {
    for (int quant : {0x00, 0xff, 0x80, 0x7f, 0xf0, 0x0f, 0x81}) {
      std::vector<std::byte> blocks;
      for (int64_t block = 0; block < 3 * kCols / kBlockElements; ++block) {
        const size_t begin = blocks.size();
        blocks.resize(begin + BlockBytes(format),
                      static_cast<std::byte>(quant));
        blocks[begin] = std::byte{0x00};  // scale 0.5
        blocks[begin + 1] = std::byte{0x38};
        if (format == WeightFormat::kQ4Minimum) {
          blocks[begin + 2] = std::byte{0x00};  // minimum -2
          blocks[begin + 3] = std::byte{0xc0};
        }
      }
      const BlockMatrix weight(format, 3, kCols, blocks);
      HostMatrix x{5, kCols, std::vector<float>(5 * kCols, 127.0f)};
      for (int64_t k = 0; k < kCols; ++k) {
        x.Row(1)[k] = -127.0f;
        x.Row(2)[k] = k % 2 == 0 ? 127.0f : -127.0f;
        x.Row(3)[k] = k / 2 % 2 == 0 ? 127.0f : -127.0f;
        x.Row(4)[k] = k % 4 == 1 ? 1e-3f : 127.0f;
      }
      SCOPED_TRACE(::testing::Message() << Name(format) << " " << quant);
      ExpectProducts(weight, x);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(BackendQuantized, TheSmallestAndLargestScales) {
  for (WeightFormat format : kQuantizedFormats) {
    for (int bits : {0x0000, 0x0001, 0x8001, 0x03ff, 0x7bff, 0xfbff}) {
      SCOPED_TRACE(::testing::Message() << Name(format) << " " << bits);
      std::vector<std::byte> blocks =
          ToBytes(RandomMatrix(3, 64, 6).values, format);
      for (int64_t at = 0; at < static_cast<int64_t>(blocks.size());
           at += BlockBytes(format)) {
        blocks[at] = static_cast<std::byte>(bits & 0xff);
        blocks[at + 1] = static_cast<std::byte>(bits >> 8);
      }
      ExpectProducts(BlockMatrix(format, 3, 64, blocks),
                     RandomMatrix(2, 64, 7));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(BackendQuantized, RowsOfAnySize) {
  for (WeightFormat format : kQuantizedFormats) {
    const BlockMatrix weight(format, RandomMatrix(40, 96, 8));
    for (float size : {0.0f, 1e-45f, 1e-38f, 1e-31f, 1e-29f, 1e-20f, 1e20f}) {
      SCOPED_TRACE(::testing::Message() << Name(format) << " " << size);
      HostMatrix x = RandomMatrix(3, 96, 9, size);
      // A block of another size beside it.
      for (int64_t k = 32; k < 64; ++k) x.Row(1)[k] = 1.0f;
      ExpectProducts(weight, x);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(BackendQuantized, ARowThatIsNotFiniteIsNanAndHarmsNoOther) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (WeightFormat format : kQuantizedFormats) {
    const BlockMatrix weight(format, RandomMatrix(40, 96, 10));
    const auto loaded = LoadBlocks(weight);
    const HostMatrix good = RandomMatrix(7, 96, 11);
    HostMatrix bad = good;
    bad.Row(1)[50] = kInfinity;
    bad.Row(3)[0] = -kInfinity;
    bad.Row(4)[95] = std::numeric_limits<float>::quiet_NaN();
    const HostMatrix expected = Linear(*loaded, good);
    const HostMatrix result = Linear(*loaded, bad);
    for (int64_t row : {0, 2, 5, 6}) {
      EXPECT_THAT(result.Rows(row, 1), SameBitsAs(expected.Rows(row, 1)));
    }
    for (int64_t row : {1, 3, 4}) {
      for (int64_t n = 0; n < 40; ++n) {
        EXPECT_TRUE(std::isnan(result.At(row, n))) << row << " " << n;
      }
    }
  }
}

TEST_P(BackendQuantized, EmbedDecodesRows) {
  for (WeightFormat format : kQuantizedFormats) {
    const BlockMatrix table(format, RandomMatrix(50, 96, 12));
    const auto weight = LoadBlocks(table);
    EXPECT_EQ(weight->bytes(), 64 * ByteSize(format, 96));  // whole panels
    const std::vector<int32_t> ids = {100, 149, 131, 99, 150, 117};
    const DeviceMatrix out(*backend_, static_cast<int64_t>(ids.size()), 96);
    CARAVAN_ASSERT_OK(backend_->Embed(*weight, 100, {ids}, out.tensor()));
    const HostMatrix result = out.Read();
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool held = ids[i] >= 100 && ids[i] < 150;
      for (int64_t k = 0; k < 96; ++k) {
        ASSERT_EQ(result.At(i, k),
                  held ? table.decoded.At(ids[i] - 100, k) : 0.0f)
            << Name(format) << " id=" << ids[i];
      }
    }
  }
}

TEST_P(BackendQuantized, WeightsAreConvertedWhenLoaded) {
  const HostMatrix matrix = RandomMatrix(70, 64, 13);
  const HostMatrix x = RandomMatrix(3, 64, 14);
  for (WeightFormat from : kAllFormats) {
    const BlockMatrix delivered(from, matrix);
    for (WeightFormat to : kAllFormats) {
      SCOPED_TRACE(::testing::Message() << Name(from) << " to " << Name(to));
      std::vector<std::byte> bytes(70 * ByteSize(to, 64));
      CARAVAN_ASSERT_OK(
          Convert(from, delivered.bytes, to, absl::MakeSpan(bytes)));
      const auto direct = LoadBlocks(BlockMatrix(to, 70, 64, bytes));
      CARAVAN_ASSERT_OK_AND_ASSIGN(
          const auto converted, backend_->LoadWeight(delivered.Reader(), to));
      EXPECT_THAT(Linear(*converted, x), SameBitsAs(Linear(*direct, x)));
    }
  }
}

TEST_P(BackendQuantized, RefusesWhatNoBlockHolds) {
  using ::testing::HasSubstr;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  HostMatrix matrix = RandomMatrix(70, 64, 15);
  matrix.Row(69)[63] = std::numeric_limits<float>::infinity();
  const HostMatrix narrow = RandomMatrix(3, 48, 16);
  for (WeightFormat format : kQuantizedFormats) {
    EXPECT_THAT(
        backend_->LoadWeight(ReaderOf(matrix, WeightFormat::kFloat32), format),
        testing::StatusIs(kInvalid, HasSubstr("value=inf")));
    EXPECT_THAT(
        backend_->LoadWeight(ReaderOf(narrow, WeightFormat::kFloat32), format),
        testing::StatusIs(kInvalid, HasSubstr("cols=48 block=32")));
  }
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_QUANTIZED_SUITE_H_
