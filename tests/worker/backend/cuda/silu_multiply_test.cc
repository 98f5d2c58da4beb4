#include "worker/backend/cuda/silu_multiply.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/worker/backend/cuda/device_vector.h"

namespace caravan::worker::cuda {
namespace {

TEST(SiluMultiplyTest, MultipliesWithTheGateAndKeepsToItsColumns) {
  constexpr int64_t kStride = 600;
  for (const int64_t cols : {1, 256, 257, 600}) {
    for (const int64_t rows : {1, 3}) {
      std::vector<float> gate(static_cast<size_t>(rows * cols));
      std::vector<float> out(static_cast<size_t>(rows * kStride));
      for (size_t i = 0; i < gate.size(); ++i) {
        gate[i] = static_cast<float>(i % 23) - 11.0f;
      }
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<float>(i % 7) - 2.5f;
      }
      const DeviceVector<float> device_gate(gate);
      const DeviceVector<float> device_out(out);
      ASSERT_EQ(SiluMultiply({.gate = device_gate.data(),
                              .out = device_out.data(),
                              .out_stride = kStride,
                              .num_rows = rows,
                              .num_cols = cols},
                             nullptr),
                cudaSuccess);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      const std::vector<float> got = device_out.Get();
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t col = 0; col < kStride; ++col) {
          const auto at = static_cast<size_t>(row * kStride + col);
          double wanted = out[at];
          if (col < cols) {
            const double g = gate[static_cast<size_t>(row * cols + col)];
            wanted *= g / (1 + std::exp(-g));
          }
          ASSERT_NEAR(got[at], wanted, 1e-6 * std::fabs(wanted))
              << "row=" << row << " col=" << col;
        }
      }
    }
  }
}

TEST(SiluMultiplyTest, RefusesWhatDoesNotFit) {
  SiluMultiplyArguments arguments = {.out_stride = 4, .num_cols = 4};
  EXPECT_EQ(SiluMultiply(arguments, nullptr), cudaSuccess);
  arguments.num_rows = -1;
  EXPECT_EQ(SiluMultiply(arguments, nullptr), cudaErrorInvalidValue);
  arguments.num_rows = 0;
  arguments.out_stride = 3;
  EXPECT_EQ(SiluMultiply(arguments, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace caravan::worker::cuda
