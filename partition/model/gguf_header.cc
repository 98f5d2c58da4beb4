#include "partition/model/gguf_header.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "partition/model/gguf_cursor.h"
#include "partition/model/gguf_types.h"

namespace caravan::partition {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
// The largest real headers, of 256,000-word vocabularies, have a tenth.
constexpr int64_t kMaxHeaderBytes = int64_t{64} << 20;
// Over all arrays of a file: bounds the memory that widening takes.
constexpr int64_t kMaxArrayElements = int64_t{1} << 23;
constexpr int64_t kMaxEntries = 1 << 16;  // keys, tensors
constexpr int64_t kMaxNameBytes = 256;
constexpr int64_t kDefaultAlignment = 32;
constexpr int64_t kMaxAlignment = 1 << 16;
constexpr int kMaxDimensions = 4;
constexpr char kAlignmentKey[] = "general.alignment";

enum class ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

absl::StatusOr<ValueType> ReadValueType(GgufCursor& cursor) {
  CARAVAN_ASSIGN_OR_RETURN(const uint32_t number, cursor.Number<uint32_t>());
  if (number > static_cast<uint32_t>(ValueType::kFloat64)) {
    return absl::InvalidArgumentError(
        absl::StrCat("no value type has the number ", number));
  }
  return static_cast<ValueType>(number);
}

// The least that a value takes in the file.
int64_t LeastBytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kArray:
      return 12;
    case ValueType::kString:
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
      return 8;
  }
  return 8;
}

template <typename T>
absl::StatusOr<GgufValue> ReadInteger(GgufCursor& cursor) {
  CARAVAN_ASSIGN_OR_RETURN(const T value, cursor.Number<T>());
  if (!std::in_range<int64_t>(value)) {
    return GgufValue(static_cast<uint64_t>(value));
  }
  return GgufValue(static_cast<int64_t>(value));
}

template <typename T>
absl::StatusOr<GgufValue> ReadFloat(GgufCursor& cursor) {
  CARAVAN_ASSIGN_OR_RETURN(const T value, cursor.Number<T>());
  return GgufValue(static_cast<double>(value));
}

absl::StatusOr<GgufValue> ReadBool(GgufCursor& cursor) {
  CARAVAN_ASSIGN_OR_RETURN(const uint8_t value, cursor.Number<uint8_t>());
  if (value > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a bool must be 0 or 1, is ", static_cast<int>(value)));
  }
  return GgufValue(value == 1);
}

absl::StatusOr<GgufValue> ReadString(GgufCursor& cursor) {
  CARAVAN_ASSIGN_OR_RETURN(std::string text, cursor.String(kMaxHeaderBytes));
  return GgufValue(std::move(text));
}

absl::StatusOr<GgufValue> ReadScalar(GgufCursor& cursor, ValueType type) {
  switch (type) {
    case ValueType::kUint8:
      return ReadInteger<uint8_t>(cursor);
    case ValueType::kInt8:
      return ReadInteger<int8_t>(cursor);
    case ValueType::kUint16:
      return ReadInteger<uint16_t>(cursor);
    case ValueType::kInt16:
      return ReadInteger<int16_t>(cursor);
    case ValueType::kUint32:
      return ReadInteger<uint32_t>(cursor);
    case ValueType::kInt32:
      return ReadInteger<int32_t>(cursor);
    case ValueType::kUint64:
      return ReadInteger<uint64_t>(cursor);
    case ValueType::kInt64:
      return ReadInteger<int64_t>(cursor);
    case ValueType::kFloat32:
      return ReadFloat<float>(cursor);
    case ValueType::kFloat64:
      return ReadFloat<double>(cursor);
    case ValueType::kBool:
      return ReadBool(cursor);
    case ValueType::kString:
      return ReadString(cursor);
    case ValueType::kArray:
      break;
  }
  return absl::InvalidArgumentError("arrays in arrays are not read");
}

// Appends a scalar to the vector of its kind.
class ArrayBuilder final {
 public:
  explicit ArrayBuilder(ValueType type) : type_(type) {}

  absl::Status Append(GgufValue value) {
    if (auto* flag = std::get_if<bool>(&value)) {
      integers_.push_back(*flag ? 1 : 0);
    } else if (auto* integer = std::get_if<int64_t>(&value)) {
      integers_.push_back(*integer);
    } else if (auto* number = std::get_if<double>(&value)) {
      floats_.push_back(*number);
    } else if (auto* text = std::get_if<std::string>(&value)) {
      strings_.push_back(std::move(*text));
    } else {
      return absl::InvalidArgumentError("an array element is above 2^63 - 1");
    }
    return absl::OkStatus();
  }

  GgufValue Finish() && {
    if (type_ == ValueType::kString) return std::move(strings_);
    if (type_ == ValueType::kFloat32 || type_ == ValueType::kFloat64) {
      return std::move(floats_);
    }
    return std::move(integers_);
  }

 private:
  const ValueType type_;
  std::vector<int64_t> integers_;
  std::vector<double> floats_;
  std::vector<std::string> strings_;
};

class HeaderParser final {
 public:
  explicit HeaderParser(const RandomAccessFile& file)
      : file_(file), cursor_(file, kMaxHeaderBytes) {}

  absl::StatusOr<GgufHeader> Parse() {
    CARAVAN_RETURN_IF_ERROR(CheckStart());
    // A key takes at least 13 bytes, a tensor 32.
    CARAVAN_ASSIGN_OR_RETURN(const int64_t num_tensors, Entries("tensors", 32));
    CARAVAN_ASSIGN_OR_RETURN(const int64_t num_keys,
                             Entries("metadata keys", 13));
    for (int64_t i = 0; i < num_keys; ++i) {
      CARAVAN_RETURN_IF_ERROR(ReadEntry(i));
    }
    CARAVAN_RETURN_IF_ERROR(ReadAlignment());
    for (int64_t i = 0; i < num_tensors; ++i) {
      CARAVAN_RETURN_IF_ERROR(ReadTensor(i));
    }
    CARAVAN_RETURN_IF_ERROR(PlaceTensors());
    return std::move(header_);
  }

 private:
  absl::Status CheckStart() {
    CARAVAN_ASSIGN_OR_RETURN(const uint32_t magic, cursor_.Number<uint32_t>());
    if (magic != kMagic) {
      return absl::InvalidArgumentError(
          "not a GGUF file: it does not begin with \"GGUF\"");
    }
    CARAVAN_ASSIGN_OR_RETURN(const uint32_t version,
                             cursor_.Number<uint32_t>());
    if (version == 2 || version == 3) return absl::OkStatus();
    if ((version & 0xffffu) == 0) {
      return absl::UnimplementedError("big-endian GGUF files are not read");
    }
    return absl::UnimplementedError(absl::StrCat(
        "GGUF version ", version, " is not read; versions 2 and 3 are"));
  }

  absl::StatusOr<int64_t> Entries(absl::string_view what, int64_t least_bytes) {
    auto count = cursor_.Count(least_bytes);
    if (!count.ok()) return Annotate(count.status(), what);
    if (*count > kMaxEntries) {
      return absl::InvalidArgumentError(absl::StrCat(
          "number of ", what, ": ", *count, ", at most ", kMaxEntries));
    }
    return *count;
  }

  absl::Status ReadEntry(int64_t index) {
    const std::string place = absl::StrCat("metadata key ", index);
    auto key = cursor_.String(kMaxNameBytes);
    if (!key.ok()) return Annotate(key.status(), place);
    CARAVAN_RETURN_IF_ERROR(Annotate(CheckName(*key), place));
    auto value = ReadValue();
    if (!value.ok()) {
      return Annotate(value.status(),
                      absl::StrCat("metadata key \"", *key, "\""));
    }
    if (!header_.metadata.try_emplace(*key, *std::move(value)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("metadata key \"", *key, "\" occurs twice"));
    }
    return absl::OkStatus();
  }

  static absl::Status CheckName(absl::string_view name) {
    if (name.empty()) return absl::InvalidArgumentError("the name is empty");
    for (char c : name) {
      if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
        return absl::InvalidArgumentError(
            absl::StrCat("the name has characters that are not visible ASCII: ",
                         absl::CHexEscape(name)));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<GgufValue> ReadValue() {
    CARAVAN_ASSIGN_OR_RETURN(const ValueType type, ReadValueType(cursor_));
    if (type != ValueType::kArray) return ReadScalar(cursor_, type);
    CARAVAN_ASSIGN_OR_RETURN(const ValueType element, ReadValueType(cursor_));
    CARAVAN_ASSIGN_OR_RETURN(const int64_t count,
                             cursor_.Count(LeastBytes(element)));
    if (count > kMaxArrayElements - num_elements_) {
      return absl::InvalidArgumentError(absl::StrCat(
          "over ", kMaxArrayElements, " array elements in the file, with the ",
          count, " of this array"));
    }
    num_elements_ += count;
    ArrayBuilder builder(element);
    for (int64_t i = 0; i < count; ++i) {
      CARAVAN_ASSIGN_OR_RETURN(GgufValue value, ReadScalar(cursor_, element));
      CARAVAN_RETURN_IF_ERROR(builder.Append(std::move(value)));
    }
    return std::move(builder).Finish();
  }

  absl::Status ReadAlignment() {
    const auto found = header_.metadata.find(kAlignmentKey);
    if (found == header_.metadata.end()) return absl::OkStatus();
    const int64_t* value = std::get_if<int64_t>(&found->second);
    if (value == nullptr || *value < 8 || *value > kMaxAlignment ||
        (*value & (*value - 1)) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          kAlignmentKey, " must be a power of two from 8 to ", kMaxAlignment,
          value == nullptr ? "" : absl::StrCat(", is ", *value)));
    }
    alignment_ = *value;
    return absl::OkStatus();
  }

  absl::Status ReadTensor(int64_t index) {
    const std::string place = absl::StrCat("tensor ", index);
    auto name = cursor_.String(kMaxNameBytes);
    if (!name.ok()) return Annotate(name.status(), place);
    CARAVAN_RETURN_IF_ERROR(Annotate(CheckName(*name), place));
    if (!names_.insert(*name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", *name, "\" occurs twice"));
    }
    GgufTensor tensor;
    tensor.name = *std::move(name);
    CARAVAN_RETURN_IF_ERROR(Annotate(
        ReadTensorFacts(tensor), absl::StrCat("tensor \"", tensor.name, "\"")));
    header_.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // tensor.offset is relative to the data until PlaceTensors().
  absl::Status ReadTensorFacts(GgufTensor& tensor) {
    CARAVAN_ASSIGN_OR_RETURN(const uint32_t dimensions,
                             cursor_.Number<uint32_t>());
    if (dimensions < 1 || dimensions > kMaxDimensions) {
      return absl::InvalidArgumentError(absl::StrCat(
          dimensions, " dimensions, must be 1 to ", kMaxDimensions));
    }
    tensor.rows = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      CARAVAN_ASSIGN_OR_RETURN(const uint64_t size, cursor_.Number<uint64_t>());
      if (size < 1 || !std::in_range<int64_t>(size)) {
        return absl::InvalidArgumentError(
            absl::StrCat("dimension ", i, " is ", size));
      }
      if (i == 0) {
        tensor.cols = static_cast<int64_t>(size);
        continue;
      }
      CARAVAN_ASSIGN_OR_RETURN(
          tensor.rows,
          CheckedMultiply(tensor.rows, static_cast<int64_t>(size)));
    }
    CARAVAN_ASSIGN_OR_RETURN(const uint32_t type, cursor_.Number<uint32_t>());
    CARAVAN_ASSIGN_OR_RETURN(tensor.format, FormatFromGgufNumber(type));
    CARAVAN_RETURN_IF_ERROR(ComputeBytes(tensor));
    CARAVAN_ASSIGN_OR_RETURN(const uint64_t offset, cursor_.Number<uint64_t>());
    if (!std::in_range<int64_t>(offset)) {
      return absl::InvalidArgumentError(absl::StrCat("offset ", offset));
    }
    tensor.offset = static_cast<int64_t>(offset);
    return absl::OkStatus();
  }

  static absl::Status ComputeBytes(GgufTensor& tensor) {
    const int64_t block = BlockSize(tensor.format);
    if (tensor.cols % block != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("rows of ", tensor.cols, " do not divide into ",
                       GgufTypeName(tensor.format), " blocks of ", block));
    }
    CARAVAN_ASSIGN_OR_RETURN(tensor.bytes,
                             CheckedProduct({tensor.rows, tensor.cols / block,
                                             BlockBytes(tensor.format)}));
    // The number of elements must fit too: Q4 has more of them than bytes.
    return CheckedMultiply(tensor.rows, tensor.cols).status();
  }

  // Data must lie without holes or overlap, as writers lay it, and end with the
  // file: bytes that no tensor owns could be anything.
  absl::Status PlaceTensors() {
    header_.data_begin = RoundUp(cursor_.position(), alignment_);
    int64_t next = 0;  // from data_begin on
    int64_t end = cursor_.position();
    for (GgufTensor& tensor : header_.tensors) {
      if (tensor.offset != next) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor \"", tensor.name, "\": offset ", tensor.offset,
                         ", must be ", next, ", where the one before ends"));
      }
      tensor.offset += header_.data_begin;
      // No overflow: the offset is below the file's size.
      if (tensor.bytes > file_.size() - tensor.offset) {
        return absl::DataLossError(absl::StrCat(
            "tensor \"", tensor.name, "\": ", tensor.bytes, " bytes at ",
            tensor.offset, " end after the file's ", file_.size()));
      }
      end = tensor.offset + tensor.bytes;
      next = RoundUp(end, alignment_) - header_.data_begin;
    }
    // Writers pad the last tensor too; old ones did not.
    if (file_.size() != end && file_.size() != RoundUp(end, alignment_)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the file has ", file_.size(),
                       " bytes, but its last tensor ends at ", end));
    }
    return absl::OkStatus();
  }

  const RandomAccessFile& file_;
  GgufCursor cursor_;
  GgufHeader header_;
  absl::flat_hash_set<std::string> names_;
  int64_t num_elements_ = 0;
  int64_t alignment_ = kDefaultAlignment;
};

}  // namespace

absl::StatusOr<GgufHeader> ParseGgufHeader(const RandomAccessFile& file) {
  return HeaderParser(file).Parse();
}

}  // namespace caravan::partition
