#include "worker/backend/cuda/cuda_weight.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "partition/plan/gpu_memory.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker::cuda {
namespace {

class WeightLoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    emulated::SetStreamPolicy(emulated::StreamPolicy::kLazy, 0);
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
    loader_ = std::make_unique<WeightLoader>(*context_, false);
  }
  void TearDown() override {
    CARAVAN_EXPECT_OK(context_->Wait());
    emulated::SetStreamPolicy(emulated::GetSettings().stream_policy, 0);
  }

  static MatrixReader Zeros(WeightFormat format, int64_t rows, int64_t cols) {
    return {.format = format,
            .rows = rows,
            .cols = cols,
            .read_rows = [](int64_t, int64_t, absl::Span<std::byte> out) {
              std::fill(out.begin(), out.end(), std::byte{});
              return absl::OkStatus();
            }};
  }

  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<WeightLoader> loader_;
};

// The plan counts what is not even linked with it.
TEST_F(WeightLoaderTest, WeightsTakeThePlannedBytes) {
  for (int i = 0; i < kNumWeightFormats; ++i) {
    const auto format = static_cast<WeightFormat>(i);
    for (const int64_t rows : {1, 32, 33}) {
      for (const int64_t blocks : {1, 3}) {
        for (const int64_t more : {0, 5}) {
          if (more > 0 && IsQuantized(format)) continue;
          const int64_t cols = blocks * kBlockElements + more;
          const int64_t before = emulated::AllocatedBytes(0);
          CARAVAN_ASSERT_OK_AND_ASSIGN(
              const auto weight,
              loader_->Load(Zeros(format, rows, cols), format));
          CARAVAN_ASSERT_OK(loader_->Release());
          EXPECT_EQ(weight->bytes(),
                    partition::GpuMatrixBytes(format, rows, cols))
              << Name(format) << " rows=" << rows << " cols=" << cols;
          EXPECT_EQ(emulated::AllocatedBytes(0) - before, weight->bytes());
        }
      }
    }
  }
}

// Streams are lazy: nothing runs but what someone waits for. So whoever reads a
// piece has not waited for the pieces before it to be in their places: not for
// the last one's copy at all, and of the one before for no more than the copy
// out of the buffer that is now filled again.
TEST_F(WeightLoaderTest, ReadsTheNextPieceWhileThoseBeforeAreOnTheirWay) {
  constexpr int64_t kCols = 1 << 16;
  constexpr int64_t kPieces = 5;
  constexpr int64_t kRowsOfPiece = (int64_t{4} << 20) / (kCols * 4);
  std::vector<int64_t> kernels_run;
  const int64_t before = emulated::KernelsRun();
  const MatrixReader reader = {
      .rows = kPieces * kRowsOfPiece,
      .cols = kCols,
      .read_rows = [&](int64_t first, int64_t num_rows,
                       absl::Span<std::byte> out) {
        EXPECT_EQ(num_rows, kRowsOfPiece);
        kernels_run.push_back(emulated::KernelsRun() - before);
        auto* values = reinterpret_cast<float*>(out.data());
        std::fill(values, values + num_rows * kCols,
                  static_cast<float>(first / kRowsOfPiece));
        return absl::OkStatus();
      }};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto weight,
                               loader_->Load(reader, WeightFormat::kFloat32));
  // Each piece's kernel, which puts it in its place, has not run before the
  // third piece after it is read.
  EXPECT_THAT(kernels_run, ::testing::ElementsAre(0, 0, 0, 1, 2));
  CARAVAN_ASSERT_OK(context_->Wait());
  EXPECT_EQ(emulated::KernelsRun() - before, kPieces);
  // And yet no piece was overwritten on its way.
  std::vector<float> held(weight->bytes() / sizeof(float));
  ASSERT_EQ(cudaMemcpy(held.data(), weight->view().values, weight->bytes(),
                       cudaMemcpyDeviceToHost),
            cudaSuccess);
  for (int64_t row = 0; row < reader.rows; ++row) {
    const int64_t at =
        (row / kTileRows * (kCols / 4) * kTileRows + row % kTileRows) *
        4;  // the row's first unit
    ASSERT_EQ(held[at], static_cast<float>(row / kRowsOfPiece)) << row;
  }
}

// As a library's products read it: a row's units one after the other, zeros
// where the last unit and the last tile are filled up.
TEST_F(WeightLoaderTest, WeightsOf16BitsMayBeRowMajor) {
  constexpr int64_t kRows = 33;
  constexpr int64_t kCols = 19;
  constexpr int64_t kStride = 24;
  WeightLoader loader(*context_, /*row_major=*/true);
  const MatrixReader reader = {
      .format = WeightFormat::kFloat16,
      .rows = kRows,
      .cols = kCols,
      .read_rows = [](int64_t first, int64_t num_rows,
                      absl::Span<std::byte> out) {
        auto* values = reinterpret_cast<uint16_t*>(out.data());
        for (int64_t i = 0; i < num_rows * kCols; ++i) {
          values[i] = static_cast<uint16_t>(1 + first * kCols + i);
        }
        return absl::OkStatus();
      }};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto weight,
                               loader.Load(reader, WeightFormat::kFloat16));
  CARAVAN_ASSERT_OK(context_->Wait());
  EXPECT_EQ(weight->bytes(),
            partition::GpuMatrixBytes(WeightFormat::kFloat16, kRows, kCols));
  std::vector<uint16_t> held(weight->bytes() / sizeof(uint16_t));
  ASSERT_EQ(cudaMemcpy(held.data(), weight->view().values, weight->bytes(),
                       cudaMemcpyDeviceToHost),
            cudaSuccess);
  for (int64_t i = 0; i < static_cast<int64_t>(held.size()); ++i) {
    const int64_t row = i / kStride;
    const int64_t col = i % kStride;
    ASSERT_EQ(held[i], row < kRows && col < kCols ? 1 + row * kCols + col : 0)
        << "row=" << row << " col=" << col;
  }
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto quantized,
      loader.Load(Zeros(WeightFormat::kQ8, 5, 32), WeightFormat::kQ8));
  EXPECT_FALSE(quantized->view().row_major);
}

TEST_F(WeightLoaderTest, ReleasesWhatLoadingNeeds) {
  const int64_t before = emulated::AllocatedBytes(0);
  for (int i = 0; i < 2; ++i) {
    CARAVAN_ASSERT_OK(
        loader_->Load(Zeros(WeightFormat::kQ8, 5, 32), WeightFormat::kQ8));
    EXPECT_GT(emulated::AllocatedBytes(0), before);
    CARAVAN_ASSERT_OK(loader_->Release());
    EXPECT_EQ(emulated::AllocatedBytes(0), before);
  }
}

}  // namespace
}  // namespace caravan::worker::cuda
