#include "worker/backend/cuda/cuda_weight.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/prepare_rows.h"
#include "worker/backend/cuda/repack.h"
#include "worker/backend/weight_shape.h"

namespace caravan::worker::cuda {
namespace {

static_assert(static_cast<int>(HeldFormat::kQ4Minimum) ==
              static_cast<int>(WeightFormat::kQ4Minimum));
static_assert(static_cast<int>(HeldFormat::kQ8) ==
              static_cast<int>(WeightFormat::kQ8));
static_assert(kQuantizedInputs == kBlockElements);

// Enough for a copy to run at full speed, and for reading not to cost a call
// per kilobyte.
constexpr int64_t kPieceBytes = int64_t{4} << 20;

absl::Status CheckSizes(const MatrixReader& reader) {
  // More than any layout needs: afterwards none overflows.
  CARAVAN_ASSIGN_OR_RETURN(const int64_t rows,
                           CheckedAdd(reader.rows, kTileRows));
  CARAVAN_ASSIGN_OR_RETURN(const int64_t cols, CheckedAdd(reader.cols, 8));
  return CheckedProduct({rows, cols, 4}).status();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaWeight>> WeightLoader::Load(
    const MatrixReader& reader, WeightFormat hold_as) {
  CARAVAN_RETURN_IF_ERROR(CheckShape(reader, hold_as));
  CARAVAN_RETURN_IF_ERROR(CheckSizes(reader));
  WeightView view = {.format = static_cast<HeldFormat>(hold_as),
                     .rows = reader.rows,
                     .cols = reader.cols};
  view.row_major = row_major_ && IsHalf(view.format);
  CARAVAN_ASSIGN_OR_RETURN(
      DeviceMemory memory,
      DeviceMemory::Create(view.value_bytes() + view.scale_bytes()));
  view.values = memory.data();
  view.scales = memory.data() + view.value_bytes();
  // What fills up the last tile.
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaMemsetAsync(memory.data(), 0, memory.bytes(), context_.stream()),
      "cudaMemsetAsync"));
  const int64_t row_bytes = std::max(ByteSize(hold_as, reader.cols),
                                     ByteSize(reader.format, reader.cols));
  CARAVAN_RETURN_IF_ERROR(Reserve(std::max(kPieceBytes, row_bytes)));
  const int64_t most_rows = stored_.bytes() / row_bytes;
  for (int64_t row = 0; row < reader.rows; row += most_rows) {
    CARAVAN_RETURN_IF_ERROR(
        LoadPiece(reader, row, std::min(most_rows, reader.rows - row), view));
  }
  return std::make_unique<CudaWeight>(view, std::move(memory));
}

absl::Status WeightLoader::Release() {
  CARAVAN_RETURN_IF_ERROR(context_.Wait());
  stored_ = DeviceMemory();
  for (std::unique_ptr<StagingBuffer>& staging : staging_) staging.reset();
  delivered_ = {};
  return absl::OkStatus();
}

absl::Status WeightLoader::Reserve(int64_t bytes) {
  if (bytes <= stored_.bytes()) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(context_.Wait());
  CARAVAN_ASSIGN_OR_RETURN(stored_, DeviceMemory::Create(bytes));
  for (std::unique_ptr<StagingBuffer>& staging : staging_) {
    CARAVAN_ASSIGN_OR_RETURN(staging, StagingBuffer::Create(context_, bytes));
  }
  return absl::OkStatus();
}

absl::Status WeightLoader::ReadPiece(const MatrixReader& reader,
                                     int64_t first_row, int64_t num_rows,
                                     const Held& held) {
  if (reader.format == held.format) {
    return reader.read_rows(first_row, num_rows, held.rows);
  }
  delivered_.resize(num_rows * ByteSize(reader.format, reader.cols));
  CARAVAN_RETURN_IF_ERROR(
      reader.read_rows(first_row, num_rows, absl::MakeSpan(delivered_)));
  return Convert(reader.format, delivered_, held.format, held.rows);
}

absl::Status WeightLoader::LoadPiece(const MatrixReader& reader,
                                     int64_t first_row, int64_t num_rows,
                                     const WeightView& to) {
  const auto format = static_cast<WeightFormat>(to.format);
  const int64_t bytes = num_rows * ByteSize(format, to.cols);
  StagingBuffer& staging = *staging_[next_];
  next_ = 1 - next_;
  CARAVAN_ASSIGN_OR_RETURN(std::byte* const piece, staging.Free());
  CARAVAN_RETURN_IF_ERROR(ReadPiece(reader, first_row, num_rows,
                                    {format, absl::MakeSpan(piece, bytes)}));
  CARAVAN_RETURN_IF_ERROR(staging.CopyTo(stored_.data(), bytes));
  return CudaStatus(Repack({.stored = stored_.data(),
                            .first_row = first_row,
                            .num_rows = num_rows,
                            .to = to},
                           context_.stream()),
                    "Repack");
}

}  // namespace caravan::worker::cuda
