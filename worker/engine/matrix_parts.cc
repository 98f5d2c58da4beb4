#include "worker/engine/matrix_parts.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

using partition::ModelSource;
using partition::TensorInfo;
using partition::TensorSlice;

bool CutsBlocks(const TensorSlice& slice, WeightFormat stored) {
  const int64_t block = BlockSize(stored);
  return slice.col_begin % block != 0 || slice.col_end % block != 0;
}

// The part in `format`: as it is stored where it can be, else decoded.
absl::Status ReadAs(const ModelSource& source, const MatrixPart& part,
                    WeightFormat format, absl::Span<std::byte> out) {
  CARAVAN_ASSIGN_OR_RETURN(const TensorInfo info, source.Find(part.tensor));
  const bool decode = CutsBlocks(part.slice, info.stored);
  const WeightFormat read = decode ? FormatOf(info.dtype()) : info.stored;
  const auto deliver = [&](absl::Span<std::byte> bytes) {
    return decode ? source.Read(part.tensor, part.slice, bytes)
                  : source.ReadStored(part.tensor, part.slice, bytes);
  };
  if (read == format) return deliver(out);
  std::vector<std::byte> raw(part.slice.rows() *
                             ByteSize(read, part.slice.cols()));
  CARAVAN_RETURN_IF_ERROR(deliver(absl::MakeSpan(raw)));
  return Annotate(Convert(read, raw, format, out), part.tensor);
}

absl::StatusOr<WeightFormat> DeliveredFormat(
    const ModelSource& source, const std::vector<MatrixPart>& parts,
    WeightFormat hold_as) {
  CARAVAN_ASSIGN_OR_RETURN(const TensorInfo first,
                           source.Find(parts[0].tensor));
  bool stored = true;
  bool decoded = true;
  for (const MatrixPart& part : parts) {
    CARAVAN_ASSIGN_OR_RETURN(const TensorInfo info, source.Find(part.tensor));
    stored = stored && info.stored == first.stored &&
             !CutsBlocks(part.slice, info.stored);
    decoded = decoded && info.dtype() == first.dtype();
  }
  if (stored) return first.stored;
  if (IsQuantized(hold_as)) return hold_as;
  return decoded ? FormatOf(first.dtype()) : WeightFormat::kFloat32;
}

}  // namespace

absl::StatusOr<MatrixReader> JoinParts(const ModelSource& source,
                                       std::vector<MatrixPart> parts,
                                       WeightFormat hold_as) {
  MatrixReader reader;
  CARAVAN_ASSIGN_OR_RETURN(reader.format,
                           DeliveredFormat(source, parts, hold_as));
  reader.cols = parts[0].slice.cols();
  for (const MatrixPart& part : parts) {
    CARAVAN_CHECK(part.slice.cols() == reader.cols);
    reader.rows += part.slice.rows();
  }
  reader.read_rows = [&source, format = reader.format,
                      row_bytes = ByteSize(reader.format, reader.cols),
                      parts = std::move(parts)](
                         int64_t first, int64_t num_rows,
                         absl::Span<std::byte> out) -> absl::Status {
    int64_t part_begin = 0;
    for (const MatrixPart& part : parts) {
      const int64_t part_end = part_begin + part.slice.rows();
      const int64_t begin = std::max(first, part_begin);
      const int64_t end = std::min(first + num_rows, part_end);
      if (begin < end) {
        MatrixPart piece = part;
        piece.slice.row_begin = part.slice.row_begin + begin - part_begin;
        piece.slice.row_end = part.slice.row_begin + end - part_begin;
        CARAVAN_RETURN_IF_ERROR(ReadAs(source, piece, format,
                                       out.subspan((begin - first) * row_bytes,
                                                   (end - begin) * row_bytes)));
      }
      part_begin = part_end;
    }
    return absl::OkStatus();
  };
  return reader;
}

absl::StatusOr<std::vector<float>> ReadFloats(const ModelSource& source,
                                              const MatrixPart& part) {
  std::vector<float> values(part.slice.count());
  CARAVAN_RETURN_IF_ERROR(
      ReadAs(source, part, WeightFormat::kFloat32,
             absl::MakeSpan(reinterpret_cast<std::byte*>(values.data()),
                            values.size() * sizeof(float))));
  return values;
}

}  // namespace caravan::worker
