// A matrix repacked into panels for the kernels.
#ifndef CARAVAN_WORKER_BACKEND_CPU_PANEL_WEIGHT_H_
#define CARAVAN_WORKER_BACKEND_CPU_PANEL_WEIGHT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "base/weight_format.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/huge_memory.h"
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/thread_pool.h"

namespace caravan::worker {

// kernels.h tells the layout. Thread-safe once loaded.
class PanelWeight final : public Weight {
 public:
  // Reads, converts and repacks some panels' rows at a time. kInvalidArgument:
  // a matrix without elements or beyond what can be counted, rows that are no
  // whole blocks, or values that `hold_as` cannot hold; kResourceExhausted: no
  // memory; else the reader's error.
  static absl::StatusOr<std::unique_ptr<PanelWeight>> Load(
      const MatrixReader& reader, WeightFormat hold_as, ThreadPool& pool);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  int64_t bytes() const override { return memory_.bytes(); }

  WeightFormat format() const { return format_; }
  int64_t num_panels() const;
  const std::byte* panel(int64_t index) const;

  // One row, widened to float32, into out[0, cols).
  void CopyRow(int64_t row, float* out) const;

 private:
  PanelWeight(int64_t rows, int64_t cols, WeightFormat format,
              HugeMemory memory)
      : rows_(rows), cols_(cols), format_(format), memory_(std::move(memory)) {}

  const int64_t rows_;
  const int64_t cols_;
  const WeightFormat format_;
  HugeMemory memory_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_PANEL_WEIGHT_H_
