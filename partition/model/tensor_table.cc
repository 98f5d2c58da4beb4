#include "partition/model/tensor_table.h"

#include <algorithm>
#include <array>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace caravan::partition {

absl::Status CheckTensors(const TensorTable& found,
                          const std::vector<NamedShape>& expected) {
  absl::flat_hash_set<absl::string_view> names;
  for (const NamedShape& shape : expected) {
    const auto entry = found.find(shape.name);
    if (entry == found.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", shape.name, "\" is missing"));
    }
    const TensorInfo& info = entry->second;
    if (info.rows != shape.rows || info.cols != shape.cols) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor \"", shape.name, "\" has the shape (", info.rows, ", ",
          info.cols, "), must be (", shape.rows, ", ", shape.cols, ")"));
    }
    names.insert(shape.name);
  }
  if (found.size() == expected.size()) return absl::OkStatus();
  std::vector<absl::string_view> extra;
  for (const auto& [name, info] : found) {
    if (!names.contains(name)) extra.push_back(name);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor \"",
      absl::CHexEscape(*std::min_element(extra.begin(), extra.end())),
      "\" is not part of such a model; ", extra.size(),
      " tensors are too many"));
}

absl::Status CheckSlice(absl::string_view name, const TensorInfo& info,
                        const TensorSlice& slice, size_t out_bytes) {
  if (slice.row_begin < 0 || slice.row_begin > slice.row_end ||
      slice.row_end > info.rows || slice.col_begin < 0 ||
      slice.col_begin > slice.col_end || slice.col_end > info.cols) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", name, "\": rows ", slice.row_begin, " to ", slice.row_end,
        ", columns ", slice.col_begin, " to ", slice.col_end,
        " are not inside (", info.rows, ", ", info.cols, ")"));
  }
  const int64_t bytes = slice.count() * ByteSize(info.dtype);
  if (static_cast<size_t>(bytes) != out_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", name, "\": the slice has ", bytes,
                     " bytes, there is room for ", out_bytes));
  }
  return absl::OkStatus();
}

absl::Status NoSuchTensor(absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("no tensor \"", absl::CHexEscape(name), "\""));
}

DType MostCommonDType(const TensorTable& tensors) {
  std::array<int64_t, 3> elements = {};
  for (const auto& [name, info] : tensors) {
    // Quantized files keep vectors in float32 whatever the matrices are.
    if (info.rows == 1) continue;
    elements[static_cast<size_t>(info.dtype)] += info.rows * info.cols;
  }
  const auto most = std::max_element(elements.begin(), elements.end());
  return static_cast<DType>(most - elements.begin());
}

}  // namespace caravan::partition
