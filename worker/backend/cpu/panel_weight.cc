#include "worker/backend/cpu/panel_weight.h"

#include <algorithm>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/panel_packing.h"
#include "worker/backend/cpu/quantized_packing.h"
#include "worker/backend/weight_shape.h"

namespace caravan::worker {
namespace {

// What is read before it is repacked: enough for every thread to have a panel,
// and not so little that reading costs a call per kilobyte.
constexpr int64_t kStagingBytes = int64_t{4} << 20;

absl::StatusOr<int64_t> PanelBytes(WeightFormat format, int64_t cols) {
  return CheckedProduct(
      {cpu::kPanelOutputs, cols / BlockSize(format), BlockBytes(format)});
}

// What one thread needs to put rows into panels.
class PanelPacker final {
 public:
  PanelPacker(const MatrixReader& reader, WeightFormat hold_as)
      : from_(reader.format), to_(hold_as), cols_(reader.cols) {}

  // The first error of all calls.
  const absl::Status& status() const { return status_; }

  void Pack(const std::byte* rows, int64_t num_rows, std::byte* panel) {
    if (!IsQuantized(from_) && !IsQuantized(to_)) {
      PackPanel(rows, DecodedDType(from_), num_rows, cols_, DecodedDType(to_),
                panel);
      return;
    }
    if (from_ != to_) {
      converted_.resize(num_rows * ByteSize(to_, cols_));
      status_.Update(Convert(
          from_, absl::MakeConstSpan(rows, num_rows * ByteSize(from_, cols_)),
          to_, absl::MakeSpan(converted_)));
      rows = converted_.data();
    }
    if (IsQuantized(to_)) {
      PackQuantizedPanel(to_, rows, num_rows, cols_, panel);
    } else {
      PackPanel(rows, DecodedDType(to_), num_rows, cols_, DecodedDType(to_),
                panel);
    }
  }

 private:
  const WeightFormat from_;
  const WeightFormat to_;
  const int64_t cols_;
  std::vector<std::byte> converted_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PanelWeight>> PanelWeight::Load(
    const MatrixReader& reader, WeightFormat hold_as, ThreadPool& pool) {
  CARAVAN_RETURN_IF_ERROR(CheckShape(reader, hold_as));
  constexpr int64_t kOutputs = cpu::kPanelOutputs;
  CARAVAN_ASSIGN_OR_RETURN(const int64_t padded_rows,
                           CheckedAdd(reader.rows, kOutputs - 1));
  const int64_t num_panels = padded_rows / kOutputs;
  CARAVAN_ASSIGN_OR_RETURN(const int64_t panel_bytes,
                           PanelBytes(hold_as, reader.cols));
  CARAVAN_ASSIGN_OR_RETURN(const int64_t bytes,
                           CheckedMultiply(num_panels, panel_bytes));
  CARAVAN_ASSIGN_OR_RETURN(const int64_t staged_panel_bytes,
                           PanelBytes(reader.format, reader.cols));
  const int64_t staged_panels = std::clamp<int64_t>(
      kStagingBytes / staged_panel_bytes,
      std::min<int64_t>(pool.num_threads(), num_panels), num_panels);
  CARAVAN_ASSIGN_OR_RETURN(
      const HugeMemory staging,
      HugeMemory::Create(staged_panels * staged_panel_bytes, Commit::kNow));
  // Touched by the threads that pack, most of which will later read it.
  CARAVAN_ASSIGN_OR_RETURN(HugeMemory memory,
                           HugeMemory::Create(bytes, Commit::kOnTouch));
  std::unique_ptr<PanelWeight> weight(
      new PanelWeight(reader.rows, reader.cols, hold_as, std::move(memory)));

  std::byte* const staged = static_cast<std::byte*>(staging.data());
  std::byte* const panels = static_cast<std::byte*>(weight->memory_.data());
  std::vector<PanelPacker> packers(pool.num_threads(),
                                   PanelPacker(reader, hold_as));
  for (int64_t first = 0; first < num_panels; first += staged_panels) {
    const int64_t first_row = first * kOutputs;
    const int64_t num_rows =
        std::min(staged_panels * kOutputs, reader.rows - first_row);
    CARAVAN_RETURN_IF_ERROR(reader.read_rows(
        first_row, num_rows,
        absl::MakeSpan(staged,
                       num_rows * ByteSize(reader.format, reader.cols))));
    pool.Run(CeilDivide(num_rows, kOutputs), [&](int64_t index, int thread) {
      packers[thread].Pack(staged + index * staged_panel_bytes,
                           std::min(kOutputs, num_rows - index * kOutputs),
                           panels + (first + index) * panel_bytes);
    });
    for (const PanelPacker& packer : packers) {
      CARAVAN_RETURN_IF_ERROR(packer.status());
    }
  }
  return weight;
}

int64_t PanelWeight::num_panels() const {
  return CeilDivide(rows_, cpu::kPanelOutputs);
}

const std::byte* PanelWeight::panel(int64_t index) const {
  return static_cast<const std::byte*>(memory_.data()) +
         index * cpu::kPanelOutputs * ByteSize(format_, cols_);
}

void PanelWeight::CopyRow(int64_t row, float* out) const {
  CARAVAN_CHECK(row >= 0 && row < rows_);
  const int64_t output = row % cpu::kPanelOutputs;
  const std::byte* base = panel(row / cpu::kPanelOutputs);
  if (IsQuantized(format_)) {
    CopyQuantizedRow(format_, base, output, cols_, out);
  } else {
    CopyPanelRow(DecodedDType(format_), base, output, cols_, out);
  }
}

}  // namespace caravan::worker
