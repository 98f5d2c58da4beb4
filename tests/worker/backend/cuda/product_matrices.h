// Weights and rows on the device, for tests of products.
#ifndef CARAVAN_TESTS_WORKER_BACKEND_CUDA_PRODUCT_MATRICES_H_
#define CARAVAN_TESTS_WORKER_BACKEND_CUDA_PRODUCT_MATRICES_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/numbers.cuh"
#include "worker/backend/cuda/prepare_rows.h"
#include "worker/backend/cuda/repack.h"
#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// Named by gtest in failures.
inline void PrintTo(HeldFormat format, std::ostream* out) {
  *out << "format " << static_cast<int>(format);
}
inline std::string NameOfFormat(
    const testing::TestParamInfo<HeldFormat>& format) {
  constexpr const char* kNames[] = {"Float32", "Float16", "BFloat16",
                                    "Q8",      "Q4",      "Q4Minimum"};
  return kNames[static_cast<int>(format.param)];
}
inline auto AllFormats() {
  return testing::Values(HeldFormat::kFloat32, HeldFormat::kFloat16,
                         HeldFormat::kBFloat16, HeldFormat::kQ8,
                         HeldFormat::kQ4, HeldFormat::kQ4Minimum);
}

inline std::mt19937& Random() {
  static std::mt19937 random(11);
  return random;
}

// Uniform in [-1, 1).
inline std::vector<float> RandomFloats(int64_t count) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(Random());
  return values;
}

template <typename T>
void Append(std::vector<unsigned char>& bytes, T value) {
  const size_t at = bytes.size();
  bytes.resize(at + sizeof(value));
  std::memcpy(&bytes[at], &value, sizeof(value));
}

// Rows as they are stored: random numbers, or random blocks.
inline std::vector<unsigned char> Stored(HeldFormat format, int64_t count) {
  std::vector<unsigned char> bytes;
  if (!IsQuantized(format)) {
    for (const float value : RandomFloats(count)) {
      if (format == HeldFormat::kFloat32) Append(bytes, value);
      if (format == HeldFormat::kFloat16) {
        Append(bytes, FromFloat<__half>(value));
      }
      if (format == HeldFormat::kBFloat16) {
        Append(bytes, FromFloat<__nv_bfloat16>(value));
      }
    }
    return bytes;
  }
  for (int64_t block = 0; block < count / kQuantizedInputs; ++block) {
    for (const float scale : RandomFloats(ScaleBytes(format) / 2)) {
      Append(bytes, FromFloat<__half>(scale));
    }
    for (int i = 0; i < UnitPieces(format) * kUnitBytes; ++i) {
      bytes.push_back(static_cast<unsigned char>(Random()()));
    }
  }
  return bytes;
}

// A weight on the device.
class HeldMatrix final {
 public:
  HeldMatrix(HeldFormat format, int64_t rows, int64_t cols)
      : HeldMatrix({.format = format, .rows = rows, .cols = cols},
                   Stored(format, rows * cols)) {}
  // The same, held otherwise.
  HeldMatrix RowMajor() const {
    WeightView view = view_;
    view.row_major = true;
    return {view, stored_};
  }
  const WeightView& view() const { return view_; }
  // Of a format of 16 bits.
  float At(int64_t index) const {
    uint16_t bits;
    std::memcpy(&bits, &stored_[static_cast<size_t>(index) * 2], 2);
    return view_.format == HeldFormat::kFloat16
               ? ToFloat2(PairFromBits<__half>(bits)).x
               : ToFloat2(PairFromBits<__nv_bfloat16>(bits)).x;
  }

 private:
  HeldMatrix(const WeightView& view, std::vector<unsigned char> stored)
      : view_(view),
        values_(std::vector<unsigned char>(
            static_cast<size_t>(view_.value_bytes()))),
        scales_(std::vector<unsigned char>(
            static_cast<size_t>(view_.scale_bytes() + 16))),
        stored_(std::move(stored)) {
    view_.values = values_.data();
    view_.scales = scales_.data();
    const DeviceVector<unsigned char> from(stored_);
    EXPECT_EQ(Repack({.stored = reinterpret_cast<const std::byte*>(from.data()),
                      .num_rows = view_.rows,
                      .to = view_},
                     nullptr),
              cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }

  WeightView view_;
  DeviceVector<unsigned char> values_;
  DeviceVector<unsigned char> scales_;
  std::vector<unsigned char> stored_;
};

// Bytes of a prepared row, and of what is beside it.
inline int64_t RowBytes(const WeightView& weight) {
  if (IsQuantized(weight.format)) return weight.cols;
  const int64_t piece = IsHalf(weight.format) ? kHalfPiece : kFloatPiece;
  return (weight.cols + piece - 1) / piece * piece * 4;
}
inline int64_t ScaleBytes(const WeightView& weight) {
  if (!IsQuantized(weight.format)) return 4;
  return weight.cols / kQuantizedInputs * 8;
}

// Rows of x, prepared in groups; memory of exactly what they need.
class PreparedRows final {
 public:
  PreparedRows(const WeightView& weight, const std::vector<float>& x,
               int64_t num_rows, int group)
      : x_(x),
        rows_((num_rows + group - 1) / group * group),
        values_(static_cast<size_t>(rows_ * RowBytes(weight))),
        scales_(static_cast<size_t>(rows_ * ScaleBytes(weight))) {
    input_.format = weight.format;
    input_.group = group;
    if (IsQuantized(weight.format)) {
      input_.values = reinterpret_cast<const int8_t*>(values_.data());
      input_.scales = reinterpret_cast<const float2*>(scales_.data());
    } else if (IsHalf(weight.format)) {
      input_.halves = reinterpret_cast<const uint16_t*>(values_.data());
      input_.factors = reinterpret_cast<const float*>(scales_.data());
    } else {
      input_.floats = reinterpret_cast<const float*>(values_.data());
    }
    EXPECT_EQ(PrepareRows({.x = x_.data(),
                           .cols = weight.cols,
                           .num_rows = num_rows,
                           .to = input_},
                          nullptr),
              cudaSuccess);
  }
  const ProductInput& input() const { return input_; }

 private:
  const DeviceVector<float> x_;
  const int64_t rows_;
  const DeviceVector<unsigned char> values_;
  const DeviceVector<unsigned char> scales_;
  ProductInput input_;
};

inline testing::AssertionResult SameBits(const std::vector<float>& a,
                                         const std::vector<float>& b,
                                         int64_t cols) {
  if (a.size() > b.size()) return testing::AssertionFailure() << "too many";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) == 0) continue;
    return testing::AssertionFailure()
           << "row " << i / static_cast<size_t>(cols) << " output "
           << i % static_cast<size_t>(cols) << ": " << a[i] << " is not "
           << b[i];
  }
  return testing::AssertionSuccess();
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_TESTS_WORKER_BACKEND_CUDA_PRODUCT_MATRICES_H_
