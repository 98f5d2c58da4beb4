#include "worker/backend/cpu/quantized_packing.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

constexpr int64_t kCols = 96;
constexpr WeightFormat kFormats[] = {WeightFormat::kQ8, WeightFormat::kQ4,
                                     WeightFormat::kQ4Minimum};

// Bytes of which no two that lie near each other are alike.
std::vector<std::byte> Rows(WeightFormat format, int64_t num_rows) {
  std::vector<std::byte> rows(num_rows * ByteSize(format, kCols));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = static_cast<std::byte>(i * 37 % 251 & 0x7b);  // no float16 NaN
  }
  return rows;
}

TEST(QuantizedPacking, RowsComeBackAsTheyWere) {
  for (WeightFormat format : kFormats) {
    for (int64_t num_rows : {1, 31, 32}) {
      const std::vector<std::byte> rows = Rows(format, num_rows);
      std::vector<std::byte> panel(cpu::kPanelOutputs *
                                   ByteSize(format, kCols));
      PackQuantizedPanel(format, rows.data(), num_rows, kCols, panel.data());
      for (int64_t row = 0; row < cpu::kPanelOutputs; ++row) {
        std::vector<float> expected(kCols);
        if (row < num_rows) {
          Decode(format,
                 absl::MakeConstSpan(rows).subspan(
                     row * ByteSize(format, kCols), ByteSize(format, kCols)),
                 absl::MakeSpan(expected));
        }
        std::vector<float> copied(kCols);
        CopyQuantizedRow(format, panel.data(), row, kCols, copied.data());
        ASSERT_EQ(copied, expected) << Name(format) << " row=" << row;
      }
    }
  }
}

// The layout that kernels.h tells: scales first, then words of four bytes.
TEST(QuantizedPacking, WordsOfAllOutputsLieTogether) {
  for (WeightFormat format : kFormats) {
    const std::vector<std::byte> rows = Rows(format, cpu::kPanelOutputs);
    std::vector<std::byte> panel(rows.size());
    PackQuantizedPanel(format, rows.data(), cpu::kPanelOutputs, kCols,
                       panel.data());
    const int64_t header = format == WeightFormat::kQ4Minimum ? 4 : 2;
    const int64_t block_bytes = BlockBytes(format);
    for (int64_t output : {0, 7, 31}) {
      const std::byte* block =
          rows.data() + output * ByteSize(format, kCols) + 2 * block_bytes;
      const std::byte* held =
          panel.data() + 2 * cpu::kPanelOutputs * block_bytes;
      EXPECT_EQ(std::memcmp(held + 2 * output, block, 2), 0);
      EXPECT_EQ(
          std::memcmp(held + cpu::kPanelOutputs * (header + 4) + 4 * output,
                      block + header + 4, 4),
          0)
          << Name(format);
    }
  }
}

}  // namespace
}  // namespace caravan::worker
