#include "worker/engine/matrix_parts.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

using partition::ModelSource;
using partition::TensorInfo;
using partition::TensorSlice;

void Widen(DType dtype, absl::Span<const std::byte> from, float* to) {
  const int64_t count = static_cast<int64_t>(from.size()) / ByteSize(dtype);
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    switch (dtype) {
      case DType::kFloat32:
        std::memcpy(&to[i], from.data() + 4 * i, 4);
        break;
      case DType::kFloat16:
        std::memcpy(&bits, from.data() + 2 * i, 2);
        to[i] = Float16ToFloat(bits);
        break;
      case DType::kBFloat16:
        std::memcpy(&bits, from.data() + 2 * i, 2);
        to[i] = BFloat16ToFloat(bits);
        break;
    }
  }
}

absl::Status ReadAs(const ModelSource& source, const MatrixPart& part,
                    DType dtype, absl::Span<std::byte> out) {
  CARAVAN_ASSIGN_OR_RETURN(TensorInfo info, source.Find(part.tensor));
  if (info.dtype() == dtype) return source.Read(part.tensor, part.slice, out);
  CARAVAN_CHECK(dtype == DType::kFloat32);
  std::vector<std::byte> raw(part.slice.count() * ByteSize(info.dtype()));
  CARAVAN_RETURN_IF_ERROR(
      source.Read(part.tensor, part.slice, absl::MakeSpan(raw)));
  Widen(info.dtype(), raw, reinterpret_cast<float*>(out.data()));
  return absl::OkStatus();
}

absl::StatusOr<DType> CommonDType(const ModelSource& source,
                                  const std::vector<MatrixPart>& parts) {
  CARAVAN_ASSIGN_OR_RETURN(TensorInfo first, source.Find(parts[0].tensor));
  for (const MatrixPart& part : parts) {
    CARAVAN_ASSIGN_OR_RETURN(TensorInfo info, source.Find(part.tensor));
    if (info.dtype() != first.dtype()) return DType::kFloat32;
  }
  return first.dtype();
}

}  // namespace

absl::StatusOr<MatrixReader> JoinParts(const ModelSource& source,
                                       std::vector<MatrixPart> parts) {
  MatrixReader reader;
  CARAVAN_ASSIGN_OR_RETURN(reader.dtype, CommonDType(source, parts));
  reader.cols = parts[0].slice.cols();
  for (const MatrixPart& part : parts) {
    CARAVAN_CHECK(part.slice.cols() == reader.cols);
    reader.rows += part.slice.rows();
  }
  reader.read_rows = [&source, dtype = reader.dtype, cols = reader.cols,
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
        const int64_t row_bytes = cols * ByteSize(dtype);
        CARAVAN_RETURN_IF_ERROR(ReadAs(source, piece, dtype,
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
      ReadAs(source, part, DType::kFloat32,
             absl::MakeSpan(reinterpret_cast<std::byte*>(values.data()),
                            values.size() * sizeof(float))));
  return values;
}

}  // namespace caravan::worker
