#include "worker/backend/cpu/panel_packing.h"

#include <cstring>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

TEST(PanelPacking, PlacesOfAPanelAreAllDifferent) {
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    std::set<int64_t> places;
    for (int64_t output = 0; output < cpu::kPanelOutputs; ++output) {
      places.insert(PlaceInPanel(dtype, output));
    }
    EXPECT_EQ(places.size(), static_cast<size_t>(cpu::kPanelOutputs));
    EXPECT_EQ(*places.begin(), 0);
    EXPECT_EQ(*places.rbegin(), cpu::kPanelOutputs - 1);
  }
}

TEST(PanelPacking, TurnsRowsAndFillsUpWithZeros) {
  constexpr int64_t kRows = 5;
  constexpr int64_t kCols = 70;
  std::vector<float> rows(kRows * kCols);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i + 1);
  for (DType hold_as : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    std::vector<std::byte> panel(kCols * cpu::kPanelOutputs * ByteSize(hold_as),
                                 std::byte{0xff});
    PackPanel(reinterpret_cast<const std::byte*>(rows.data()), DType::kFloat32,
              kRows, kCols, hold_as, panel.data());
    for (int64_t k = 0; k < kCols; ++k) {
      for (int64_t output = 0; output < cpu::kPanelOutputs; ++output) {
        const std::byte* at = panel.data() + (k * cpu::kPanelOutputs +
                                              PlaceInPanel(hold_as, output)) *
                                                 ByteSize(hold_as);
        const float value = output < kRows ? rows[output * kCols + k] : 0.0f;
        float held = 0;
        uint16_t half = 0;
        switch (hold_as) {
          case DType::kFloat32:
            std::memcpy(&held, at, sizeof(held));
            ASSERT_EQ(held, value);
            break;
          case DType::kFloat16:
            std::memcpy(&half, at, sizeof(half));
            ASSERT_EQ(half, FloatToFloat16(value));
            break;
          case DType::kBFloat16:
            std::memcpy(&half, at, sizeof(half));
            ASSERT_EQ(half, FloatToBFloat16(value));
            break;
        }
      }
    }
  }
}

}  // namespace
}  // namespace caravan::worker
