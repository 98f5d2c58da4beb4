// A GGUF file's metadata and table of tensors, checked whole.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2
// and 3, little endian.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_FILE_H_
#define CARAVAN_PARTITION_MODEL_GGUF_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/weight_format.h"
#include "partition/model/file.h"

namespace caravan::partition {

// Integers and bools of arrays are widened to int64_t, floats to double. A
// scalar above the range of int64_t stays uint64_t.
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string,
                               std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>>;

// cols is ggml's innermost dimension; a vector is one row.
struct GgufTensor {
  std::string name;
  WeightFormat format = WeightFormat::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t offset = 0;  // in the file
  int64_t bytes = 0;
};

// Immutable after opening; const methods are thread-safe. What accessors return
// lives as long as the object.
class GgufFile final {
 public:
  // Reads the header only. kInvalidArgument: malformed; kDataLoss: the file
  // ends early; kUnimplemented: a version or tensor type that is not read. Each
  // names the file and the key or tensor.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(absl::string_view path);
  static absl::StatusOr<std::unique_ptr<GgufFile>> Parse(
      std::unique_ptr<RandomAccessFile> file);

  const RandomAccessFile& file() const { return *file_; }
  const std::string& path() const { return file_->path(); }

  bool Has(absl::string_view key) const { return metadata_.contains(key); }

  // kNotFound: no such key; kInvalidArgument: of another type or, for integers
  // and floats, not representable. Any integer width will do, and Float() takes
  // integers too.
  absl::StatusOr<absl::string_view> String(absl::string_view key) const;
  absl::StatusOr<int64_t> Integer(absl::string_view key) const;
  absl::StatusOr<double> Float(absl::string_view key) const;
  absl::StatusOr<bool> Bool(absl::string_view key) const;
  absl::StatusOr<absl::Span<const std::string>> Strings(
      absl::string_view key) const;
  absl::StatusOr<absl::Span<const int64_t>> Integers(
      absl::string_view key) const;
  absl::StatusOr<absl::Span<const double>> Floats(absl::string_view key) const;

  // In the file's order: their bytes follow each other, each start aligned.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // nullptr: none of that name.
  const GgufTensor* FindTensor(absl::string_view name) const;

  // Where tensor data begins: the size of the header.
  int64_t data_begin() const { return data_begin_; }

 private:
  explicit GgufFile(std::unique_ptr<RandomAccessFile> file)
      : file_(std::move(file)) {}

  template <typename T>
  absl::StatusOr<const T*> Get(absl::string_view key,
                               absl::string_view kind) const;

  std::unique_ptr<RandomAccessFile> file_;
  absl::flat_hash_map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> tensor_index_;
  int64_t data_begin_ = 0;
};

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_FILE_H_
