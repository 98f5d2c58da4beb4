#include "partition/model/tensor_table.h"

#include <algorithm>
#include <array>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

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

namespace {

absl::Status CheckInside(absl::string_view name, const TensorInfo& info,
                         const TensorSlice& slice) {
  if (slice.row_begin < 0 || slice.row_begin > slice.row_end ||
      slice.row_end > info.rows || slice.col_begin < 0 ||
      slice.col_begin > slice.col_end || slice.col_end > info.cols) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", name, "\": rows ", slice.row_begin, " to ", slice.row_end,
        ", columns ", slice.col_begin, " to ", slice.col_end,
        " are not inside (", info.rows, ", ", info.cols, ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckRoom(absl::string_view name, int64_t bytes,
                       size_t out_bytes) {
  if (static_cast<size_t>(bytes) == out_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor \"", name, "\": the slice has ", bytes,
                   " bytes, there is room for ", out_bytes));
}

}  // namespace

absl::Status CheckSlice(absl::string_view name, const TensorInfo& info,
                        const TensorSlice& slice, size_t out_bytes) {
  CARAVAN_RETURN_IF_ERROR(CheckInside(name, info, slice));
  return CheckRoom(name, slice.count() * ByteSize(info.dtype()), out_bytes);
}

absl::Status CheckStoredSlice(absl::string_view name, const TensorInfo& info,
                              const TensorSlice& slice, size_t out_bytes) {
  CARAVAN_RETURN_IF_ERROR(CheckInside(name, info, slice));
  const int64_t block = BlockSize(info.stored);
  if (slice.col_begin % block != 0 || slice.col_end % block != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", name, "\": columns ", slice.col_begin, " to ",
        slice.col_end, " cut blocks of ", block, " (", Name(info.stored), ")"));
  }
  return CheckRoom(name, slice.rows() * ByteSize(info.stored, slice.cols()),
                   out_bytes);
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
    elements[static_cast<size_t>(info.dtype())] += info.rows * info.cols;
  }
  const auto most = std::max_element(elements.begin(), elements.end());
  return static_cast<DType>(most - elements.begin());
}

StoredFormats FindStoredFormats(const ModelSpec& spec,
                                const TensorTable& tensors) {
  const bool any = std::any_of(
      tensors.begin(), tensors.end(),
      [](const auto& entry) { return IsQuantized(entry.second.stored); });
  if (!any) return {};
  StoredFormats formats;
  formats.embedding = tensors.at(kEmbedding).stored;
  formats.head =
      spec.tied_embeddings ? formats.embedding : tensors.at(kHead).stored;
  for (int layer = 0; layer < spec.num_layers; ++layer) {
    const auto stored = [&](absl::string_view part) {
      return tensors.at(LayerTensor(layer, part)).stored;
    };
    formats.layers.push_back({.query = stored(kQuery),
                              .key = stored(kKey),
                              .value = stored(kValue),
                              .attention_output = stored(kAttentionOutput),
                              .gate = stored(kGate),
                              .up = stored(kUp),
                              .down = stored(kDown)});
  }
  return formats;
}

}  // namespace caravan::partition
