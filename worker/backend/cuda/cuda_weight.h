// A matrix on the device, and how it gets there.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_CUDA_WEIGHT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_CUDA_WEIGHT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/weight_format.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/staging.h"
#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// weight_layout.h tells the layout.
class CudaWeight final : public Weight {
 public:
  CudaWeight(const WeightView& view, DeviceMemory memory)
      : view_(view), memory_(std::move(memory)) {}

  int64_t rows() const override { return view_.rows; }
  int64_t cols() const override { return view_.cols; }
  int64_t bytes() const override { return memory_.bytes(); }
  const WeightView& view() const { return view_; }

 private:
  const WeightView view_;
  const DeviceMemory memory_;
};

// Reads matrices in pieces into two page-locked buffers in turn: while one is
// on its way to the device and into its layout, the next is read. The context
// outlives it.
class WeightLoader final {
 public:
  // `row_major`: how weights of 16 bits lie.
  WeightLoader(DeviceContext& context, bool row_major)
      : context_(context), row_major_(row_major) {}

  // kInvalidArgument: a matrix without elements or beyond what can be counted,
  // rows that are no whole blocks, or values that `hold_as` cannot hold;
  // kResourceExhausted: no memory; else the reader's error. What it returns is
  // complete for all that is enqueued from then on.
  absl::StatusOr<std::unique_ptr<CudaWeight>> Load(const MatrixReader& reader,
                                                   WeightFormat hold_as);

  // Gives back what loading needs; loading again takes it again. Waits for the
  // device.
  absl::Status Release();

 private:
  absl::Status Reserve(int64_t bytes);
  absl::Status LoadPiece(const MatrixReader& reader, int64_t first_row,
                         int64_t num_rows, const WeightView& to);
  // Rows as the weight's format stores them.
  struct Held {
    WeightFormat format;
    absl::Span<std::byte> rows;
  };
  absl::Status ReadPiece(const MatrixReader& reader, int64_t first_row,
                         int64_t num_rows, const Held& held);

  DeviceContext& context_;
  const bool row_major_;
  std::unique_ptr<StagingBuffer> staging_[2];
  int next_ = 0;
  DeviceMemory stored_;               // a piece as it came, on the device
  std::vector<std::byte> delivered_;  // what is yet to be converted
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_CUDA_WEIGHT_H_
