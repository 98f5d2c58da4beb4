// What the suites of a Backend share: a factory, device tensors, random data.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_FIXTURE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/tensor.h"
#include "base/weight_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

// One way to make a backend. kFailedPrecondition from `make` means that this
// machine lacks the device: the tests skip.
struct BackendFactory {
  std::string name;
  std::function<absl::StatusOr<std::unique_ptr<Backend>>(int num_threads)> make;
  // The error of a product with bfloat16 weights, in proportion to the sum of
  // the magnitudes: more where x is held in fewer bits than float32 has.
  double bfloat16_tolerance = 1e-6;
  double float16_tolerance = 1e-6;
  // Up to so many rows at once a row's bits do not depend on the others.
  int64_t most_invariant_rows = 130;
};

inline void PrintTo(const BackendFactory& factory, std::ostream* out) {
  *out << factory.name;
}

// A row-major matrix of the host.
struct HostMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;

  float* Row(int64_t row) { return values.data() + row * cols; }
  const float* Row(int64_t row) const { return values.data() + row * cols; }
  float At(int64_t row, int64_t col) const { return values[row * cols + col]; }
  HostMatrix Rows(int64_t first, int64_t num_rows) const {
    return {num_rows,
            cols,
            {values.begin() + first * cols,
             values.begin() + (first + num_rows) * cols}};
  }
};

// Uniform in [-scale, scale).
inline HostMatrix RandomMatrix(int64_t rows, int64_t cols, uint32_t seed,
                               float scale = 1.0f) {
  std::mt19937 random(seed);
  HostMatrix matrix{rows, cols, std::vector<float>(rows * cols)};
  for (float& value : matrix.values) {
    value = (static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f) * scale;
  }
  return matrix;
}

inline std::vector<std::byte> ToBytes(absl::Span<const float> values,
                                      WeightFormat format) {
  std::vector<std::byte> bytes(
      ByteSize(format, static_cast<int64_t>(values.size())));
  CARAVAN_EXPECT_OK(Encode(format, values, absl::MakeSpan(bytes)));
  return bytes;
}

// What is left of values that are held as `format`.
inline HostMatrix RoundTo(HostMatrix matrix, WeightFormat format) {
  const std::vector<std::byte> bytes = ToBytes(matrix.values, format);
  Decode(format, bytes, absl::MakeSpan(matrix.values));
  return matrix;
}

// Delivers `matrix` as `dtype`; it must outlive the reader.
inline MatrixReader ReaderOf(const HostMatrix& matrix, WeightFormat format) {
  return {.format = format,
          .rows = matrix.rows,
          .cols = matrix.cols,
          .read_rows = [&matrix, format](int64_t first, int64_t num_rows,
                                         absl::Span<std::byte> out) {
            const HostMatrix part = matrix.Rows(first, num_rows);
            const std::vector<std::byte> bytes = ToBytes(part.values, format);
            if (bytes.size() != out.size()) {
              return absl::InternalError("wrong size asked of a reader");
            }
            std::memcpy(out.data(), bytes.data(), bytes.size());
            return absl::OkStatus();
          }};
}

// A matrix in a backend's memory.
class DeviceMatrix final {
 public:
  DeviceMatrix(Backend& backend, int64_t rows, int64_t cols)
      : backend_(backend) {
    auto buffer = backend.Allocate(rows * cols * sizeof(float));
    EXPECT_THAT(buffer, testing::IsOk());
    buffer_ = *std::move(buffer);
    tensor_ = {buffer_->data(), DType::kFloat32, rows, cols};
  }
  DeviceMatrix(Backend& backend, const HostMatrix& from)
      : DeviceMatrix(backend, from.rows, from.cols) {
    Write(from);
  }

  const Tensor& tensor() const { return tensor_; }

  void Write(const HostMatrix& from) {
    CARAVAN_EXPECT_OK(backend_.CopyIn(
        absl::MakeConstSpan(
            reinterpret_cast<const std::byte*>(from.values.data()),
            from.values.size() * sizeof(float)),
        tensor_));
  }

  HostMatrix Read() const {
    HostMatrix to{tensor_.rows, tensor_.cols,
                  std::vector<float>(tensor_.count())};
    CARAVAN_EXPECT_OK(backend_.Synchronize());
    CARAVAN_EXPECT_OK(backend_.CopyOut(
        tensor_, absl::MakeSpan(reinterpret_cast<std::byte*>(to.values.data()),
                                to.values.size() * sizeof(float))));
    return to;
  }

 private:
  Backend& backend_;
  std::unique_ptr<Buffer> buffer_;
  Tensor tensor_;
};

// The first place where bits differ, or "" where none does.
inline std::string FirstDifference(const HostMatrix& a, const HostMatrix& b) {
  if (a.rows != b.rows || a.cols != b.cols) return "shapes differ";
  for (int64_t i = 0; i < a.rows * a.cols; ++i) {
    if (std::memcmp(&a.values[i], &b.values[i], sizeof(float)) != 0) {
      return "row " + std::to_string(i / a.cols) + " col " +
             std::to_string(i % a.cols) + ": " + std::to_string(a.values[i]) +
             " is not " + std::to_string(b.values[i]);
    }
  }
  return "";
}

MATCHER_P(SameBitsAs, expected, "has the same bits") {
  const std::string difference = FirstDifference(arg, expected);
  *result_listener << difference;
  return difference.empty();
}

inline constexpr WeightFormat kPlainFormats[] = {
    WeightFormat::kFloat32, WeightFormat::kFloat16, WeightFormat::kBFloat16};
inline constexpr WeightFormat kQuantizedFormats[] = {
    WeightFormat::kQ8, WeightFormat::kQ4, WeightFormat::kQ4Minimum};
inline constexpr WeightFormat kAllFormats[] = {
    WeightFormat::kFloat32, WeightFormat::kFloat16, WeightFormat::kBFloat16,
    WeightFormat::kQ8,      WeightFormat::kQ4,      WeightFormat::kQ4Minimum};

// More than any test of the suites asks for, attention aside.
inline StepLimits SuiteLimits() {
  return {.max_rows = 1024,
          .max_sequences = 16,
          .max_positions = 64,
          .max_logit_rows = 256,
          .vocabulary_size = 40000,
          .vocabulary_ranks = 5};
}

class BackendSuite : public ::testing::TestWithParam<BackendFactory> {
 protected:
  void SetUp() override { backend_ = Make(2); }

  // Skips the test, and returns null, where there is no such device.
  std::unique_ptr<Backend> Make(int num_threads) {
    auto backend = GetParam().make(num_threads);
    if (absl::IsFailedPrecondition(backend.status())) {
      [&] { GTEST_SKIP() << backend.status(); }();
      return nullptr;
    }
    EXPECT_THAT(backend, testing::IsOk());
    CARAVAN_EXPECT_OK((*backend)->Reserve(SuiteLimits()));
    return *std::move(backend);
  }

  static std::unique_ptr<Weight> Load(Backend& backend,
                                      const HostMatrix& matrix,
                                      WeightFormat format,
                                      WeightFormat hold_as) {
    auto weight = backend.LoadWeight(ReaderOf(matrix, format), hold_as);
    EXPECT_THAT(weight, testing::IsOk());
    return *std::move(weight);
  }

  std::unique_ptr<Backend> backend_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_FIXTURE_H_
