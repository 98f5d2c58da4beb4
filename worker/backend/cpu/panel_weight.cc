#include "worker/backend/cpu/panel_weight.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/panel_packing.h"

namespace caravan::worker {
namespace {

// What is read before it is repacked: enough for every thread to have a panel,
// and not so little that reading costs a call per kilobyte.
constexpr int64_t kStagingBytes = int64_t{4} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<PanelWeight>> PanelWeight::Load(
    const MatrixReader& reader, DType hold_as, ThreadPool& pool) {
  if (reader.rows < 1 || reader.cols < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a weight without elements: rows=", reader.rows,
                     " cols=", reader.cols));
  }
  constexpr int64_t kOutputs = cpu::kPanelOutputs;
  CARAVAN_ASSIGN_OR_RETURN(const int64_t padded_rows,
                           CheckedAdd(reader.rows, kOutputs - 1));
  const int64_t num_panels = padded_rows / kOutputs;
  CARAVAN_ASSIGN_OR_RETURN(
      const int64_t bytes,
      CheckedProduct({num_panels, kOutputs, reader.cols, ByteSize(hold_as)}));
  CARAVAN_ASSIGN_OR_RETURN(
      const int64_t staged_row_bytes,
      CheckedMultiply(reader.cols, ByteSize(reader.dtype)));
  const int64_t staged_panels = std::clamp<int64_t>(
      kStagingBytes / (staged_row_bytes * kOutputs),
      std::min<int64_t>(pool.num_threads(), num_panels), num_panels);
  CARAVAN_ASSIGN_OR_RETURN(
      const HugeMemory staging,
      HugeMemory::Create(staged_panels * kOutputs * staged_row_bytes,
                         Commit::kNow));
  // Touched by the threads that pack, most of which will later read it.
  CARAVAN_ASSIGN_OR_RETURN(HugeMemory memory,
                           HugeMemory::Create(bytes, Commit::kOnTouch));
  std::unique_ptr<PanelWeight> weight(
      new PanelWeight(reader.rows, reader.cols, hold_as, std::move(memory)));

  std::byte* const staged = static_cast<std::byte*>(staging.data());
  std::byte* const panels = static_cast<std::byte*>(weight->memory_.data());
  for (int64_t first = 0; first < num_panels; first += staged_panels) {
    const int64_t first_row = first * kOutputs;
    const int64_t num_rows =
        std::min(staged_panels * kOutputs, reader.rows - first_row);
    CARAVAN_RETURN_IF_ERROR(
        reader.read_rows(first_row, num_rows,
                         absl::MakeSpan(staged, num_rows * staged_row_bytes)));
    pool.Run(CeilDivide(num_rows, kOutputs), [&](int64_t index, int) {
      PackPanel(staged + index * kOutputs * staged_row_bytes, reader.dtype,
                std::min(kOutputs, num_rows - index * kOutputs), reader.cols,
                hold_as, panels + (first + index) * weight->PanelBytes());
    });
  }
  return weight;
}

cpu::Format PanelWeight::format() const {
  switch (dtype_) {
    case DType::kFloat32:
      return cpu::Format::kFloat32;
    case DType::kFloat16:
      return cpu::Format::kFloat16;
    case DType::kBFloat16:
      return cpu::Format::kBFloat16;
  }
  return cpu::Format::kFloat32;
}

int64_t PanelWeight::num_panels() const {
  return CeilDivide(rows_, cpu::kPanelOutputs);
}

int64_t PanelWeight::PanelBytes() const {
  return cols_ * cpu::kPanelOutputs * ByteSize(dtype_);
}

const std::byte* PanelWeight::panel(int64_t index) const {
  return static_cast<const std::byte*>(memory_.data()) + index * PanelBytes();
}

void PanelWeight::CopyRow(int64_t row, float* out) const {
  CARAVAN_CHECK(row >= 0 && row < rows_);
  const int64_t place = PlaceInPanel(dtype_, row % cpu::kPanelOutputs);
  const std::byte* base = panel(row / cpu::kPanelOutputs);
  for (int64_t k = 0; k < cols_; ++k) {
    const int64_t at = k * cpu::kPanelOutputs + place;
    switch (dtype_) {
      case DType::kFloat32:
        out[k] = reinterpret_cast<const float*>(base)[at];
        break;
      case DType::kFloat16:
        out[k] = Float16ToFloat(reinterpret_cast<const uint16_t*>(base)[at]);
        break;
      case DType::kBFloat16:
        out[k] = BFloat16ToFloat(reinterpret_cast<const uint16_t*>(base)[at]);
        break;
    }
  }
}

}  // namespace caravan::worker
