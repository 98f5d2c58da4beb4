#include "worker/backend/weight_shape.h"

#include "absl/strings/str_cat.h"

namespace caravan::worker {

absl::Status CheckShape(const MatrixReader& reader, WeightFormat hold_as) {
  if (reader.rows < 1 || reader.cols < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a weight without elements: rows=", reader.rows,
                     " cols=", reader.cols));
  }
  for (const WeightFormat format : {reader.format, hold_as}) {
    if (reader.cols % BlockSize(format) == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("rows are no whole blocks: format=", Name(format),
                     " cols=", reader.cols, " block=", BlockSize(format)));
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker
