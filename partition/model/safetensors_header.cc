#include "partition/model/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "partition/model/json_fields.h"
#include "partition/model/strict_json.h"

namespace caravan::partition {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = int64_t{16} << 20;
constexpr size_t kMaxNameBytes = 256;
// The header, a tensor, its shape; one to spare.
constexpr int kMaxDepth = 4;
constexpr char kMetadata[] = "__metadata__";

absl::StatusOr<std::string> ReadText(const RandomAccessFile& file) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t length = 0;
  CARAVAN_RETURN_IF_ERROR(Annotate(
      file.Read(0, {reinterpret_cast<std::byte*>(&length), kLengthBytes}),
      "header length"));
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a header of ", length, " bytes, at most ",
                     kMaxHeaderBytes, " allowed"));
  }
  if (static_cast<int64_t>(length) > file.size() - kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat("the file ends early: its header has ", length,
                     " bytes, the file ", file.size()));
  }
  std::string text(length, '\0');
  CARAVAN_RETURN_IF_ERROR(file.Read(
      kLengthBytes, {reinterpret_cast<std::byte*>(text.data()), text.size()}));
  if (text.empty() || text.front() != '{') {
    return absl::InvalidArgumentError("the header does not begin with {");
  }
  return text;
}

absl::Status CheckMetadata(const Json& metadata) {
  if (!metadata.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(kMetadata, " must be an object"));
  }
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(
          kMetadata, ": \"", absl::CHexEscape(key), "\" must be a string"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<DType> ReadDType(const JsonFields& fields) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<std::string> name,
                           fields.String("dtype"));
  if (!name.has_value()) {
    return absl::InvalidArgumentError("field dtype is missing");
  }
  if (*name == "F32") return DType::kFloat32;
  if (*name == "F16") return DType::kFloat16;
  if (*name == "BF16") return DType::kBFloat16;
  return absl::UnimplementedError(
      absl::StrCat("dtype \"", absl::CHexEscape(*name),
                   "\" is not supported; F32, F16 and BF16 are"));
}

// Unlike JsonFields::Integers, takes no lone number for an array.
absl::StatusOr<std::vector<int64_t>> ReadIntegers(const Json& object,
                                                  absl::string_view field) {
  const JsonFields fields(object);
  CARAVAN_ASSIGN_OR_RETURN(std::optional<std::vector<int64_t>> integers,
                           fields.Integers(field));
  if (!integers.has_value() || !object[std::string(field)].is_array()) {
    return fields.WrongType(field, "an array of integers");
  }
  return *std::move(integers);
}

absl::Status ReadShape(const Json& object, TensorInfo& info) {
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<int64_t> shape,
                           ReadIntegers(object, "shape"));
  for (int64_t size : shape) {
    if (size < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("a dimension of shape is ", size));
    }
  }
  if (shape.size() != 1 && shape.size() != 2) {
    return absl::UnimplementedError(absl::StrCat(
        "shape has ", shape.size(), " dimensions; 1 and 2 are supported"));
  }
  info.rows = shape.size() == 1 ? 1 : shape[0];
  info.cols = shape.back();
  return absl::OkStatus();
}

// tensor.offset is relative to the data until PlaceTensors().
absl::Status ReadTensor(const Json& object, SafetensorsTensor& tensor) {
  if (!object.is_object()) {
    return absl::InvalidArgumentError("must be an object");
  }
  const JsonFields fields(object);
  CARAVAN_ASSIGN_OR_RETURN(const DType dtype, ReadDType(fields));
  tensor.info.stored = FormatOf(dtype);
  CARAVAN_RETURN_IF_ERROR(ReadShape(object, tensor.info));
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets,
                           ReadIntegers(object, "data_offsets"));
  if (object.size() != 3) {
    return absl::InvalidArgumentError(
        "has fields besides dtype, shape and data_offsets");
  }
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[0] > offsets[1]) {
    return absl::InvalidArgumentError(
        "data_offsets must be a begin and an end, in this order");
  }
  tensor.offset = offsets[0];
  tensor.bytes = offsets[1] - offsets[0];
  CARAVAN_ASSIGN_OR_RETURN(
      const int64_t wanted,
      CheckedProduct({tensor.info.rows, tensor.info.cols, ByteSize(dtype)}));
  if (wanted != tensor.bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("its shape and dtype take ", wanted,
                     " bytes, its data_offsets hold ", tensor.bytes));
  }
  return absl::OkStatus();
}

// No holes, no overlap, nothing after the last tensor: bytes that no tensor
// owns could be anything, and aliases make a small file large.
absl::Status PlaceTensors(int64_t data_begin, int64_t file_size,
                          std::vector<SafetensorsTensor>& tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
              return a.offset != b.offset ? a.offset < b.offset
                                          : a.name < b.name;
            });
  int64_t next = data_begin;
  for (SafetensorsTensor& tensor : tensors) {
    const std::string label =
        absl::StrCat("tensor \"", absl::CHexEscape(tensor.name), "\"");
    if (tensor.offset != next - data_begin) {
      return absl::InvalidArgumentError(
          absl::StrCat(label, ": data begins at ", tensor.offset, ", must at ",
                       next - data_begin, ", where the one before ends"));
    }
    if (tensor.bytes > file_size - next) {
      return absl::DataLossError(
          absl::StrCat(label, ": ", tensor.bytes, " bytes at ", next,
                       " end after the file's ", file_size));
    }
    tensor.offset = next;
    next += tensor.bytes;
  }
  if (next != file_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file has ", file_size,
                     " bytes, but its last tensor ends at ", next));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(
    const RandomAccessFile& file) {
  SafetensorsHeader header;
  CARAVAN_ASSIGN_OR_RETURN(header.text, ReadText(file));
  absl::StatusOr<Json> json = ParseStrictJson(header.text, kMaxDepth);
  if (!json.ok()) return Annotate(json.status(), "header");
  for (const auto& [name, value] : json->items()) {
    if (name == kMetadata) {
      CARAVAN_RETURN_IF_ERROR(CheckMetadata(value));
      continue;
    }
    if (name.empty() || name.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a tensor's name has ", name.size(),
                       " bytes, must have 1 to ", kMaxNameBytes));
    }
    SafetensorsTensor tensor;
    tensor.name = name;
    CARAVAN_RETURN_IF_ERROR(
        Annotate(ReadTensor(value, tensor),
                 absl::StrCat("tensor \"", absl::CHexEscape(name), "\"")));
    header.tensors.push_back(std::move(tensor));
  }
  const int64_t data_begin =
      kLengthBytes + static_cast<int64_t>(header.text.size());
  CARAVAN_RETURN_IF_ERROR(
      PlaceTensors(data_begin, file.size(), header.tensors));
  return header;
}

}  // namespace caravan::partition
