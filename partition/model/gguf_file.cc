#include "partition/model/gguf_file.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "partition/model/gguf_header.h"

namespace caravan::partition {

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(
    absl::string_view path) {
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file,
                           OpenFile(path));
  return Parse(std::move(file));
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Parse(
    std::unique_ptr<RandomAccessFile> file) {
  absl::StatusOr<GgufHeader> header = ParseGgufHeader(*file);
  if (!header.ok()) return Annotate(header.status(), file->path());
  // Not make_unique: the constructor is private.
  std::unique_ptr<GgufFile> gguf(new GgufFile(std::move(file)));
  gguf->metadata_ = std::move(header->metadata);
  gguf->tensors_ = std::move(header->tensors);
  gguf->data_begin_ = header->data_begin;
  for (size_t i = 0; i < gguf->tensors_.size(); ++i) {
    gguf->tensor_index_.emplace(gguf->tensors_[i].name, i);
  }
  return gguf;
}

template <typename T>
absl::StatusOr<const T*> GgufFile::Get(absl::string_view key,
                                       absl::string_view kind) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) {
    return absl::NotFoundError(
        absl::StrCat(path(), ": no metadata key \"", key, "\""));
  }
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path(), ": metadata key \"", key, "\" must be ", kind));
  }
  return value;
}

absl::StatusOr<absl::string_view> GgufFile::String(
    absl::string_view key) const {
  CARAVAN_ASSIGN_OR_RETURN(const std::string* value,
                           Get<std::string>(key, "a string"));
  return absl::string_view(*value);
}

absl::StatusOr<int64_t> GgufFile::Integer(absl::string_view key) const {
  CARAVAN_ASSIGN_OR_RETURN(const int64_t* value,
                           Get<int64_t>(key, "an integer below 2^63"));
  return *value;
}

absl::StatusOr<double> GgufFile::Float(absl::string_view key) const {
  const auto found = metadata_.find(key);
  if (found != metadata_.end()) {
    if (const auto* integer = std::get_if<int64_t>(&found->second)) {
      return static_cast<double>(*integer);
    }
  }
  CARAVAN_ASSIGN_OR_RETURN(const double* value, Get<double>(key, "a number"));
  return *value;
}

absl::StatusOr<bool> GgufFile::Bool(absl::string_view key) const {
  CARAVAN_ASSIGN_OR_RETURN(const bool* value, Get<bool>(key, "a bool"));
  return *value;
}

absl::StatusOr<absl::Span<const std::string>> GgufFile::Strings(
    absl::string_view key) const {
  CARAVAN_ASSIGN_OR_RETURN(
      const std::vector<std::string>* value,
      Get<std::vector<std::string>>(key, "an array of strings"));
  return absl::MakeConstSpan(*value);
}

absl::StatusOr<absl::Span<const int64_t>> GgufFile::Integers(
    absl::string_view key) const {
  CARAVAN_ASSIGN_OR_RETURN(
      const std::vector<int64_t>* value,
      Get<std::vector<int64_t>>(key, "an array of integers"));
  return absl::MakeConstSpan(*value);
}

absl::StatusOr<absl::Span<const double>> GgufFile::Floats(
    absl::string_view key) const {
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<double>* value,
                           Get<std::vector<double>>(key, "an array of floats"));
  return absl::MakeConstSpan(*value);
}

const GgufTensor* GgufFile::FindTensor(absl::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace caravan::partition
