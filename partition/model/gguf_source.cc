#include "partition/model/gguf_source.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "base/weight_format.h"
#include "partition/model/fingerprint.h"
#include "partition/model/gguf_file.h"
#include "partition/model/gguf_spec.h"
#include "partition/model/tensor_names.h"
#include "partition/model/tensor_table.h"

namespace caravan::partition {
namespace {

// Bytes of quantized rows that are read at once.
constexpr int64_t kChunkBytes = 1 << 18;

struct Place {
  TensorInfo info;
  const GgufTensor* tensor = nullptr;
  // 0: rows lie in the model's order. Otherwise query or key rows, which
  // llama.cpp's converter permutes within each head of so many rows.
  int64_t head_dim = 0;
};

// Where a row in the order of rotate-half RoPE lies in the file. The converter
// puts the two halves of a head side by side, pair by pair: row (head, half, i)
// lies at (head, i, half) (LlamaModel.permute in convert_hf_to_gguf.py).
int64_t FileRow(int64_t row, int64_t head_dim) {
  const int64_t head = row / head_dim;
  const int64_t half = row % head_dim / (head_dim / 2);
  const int64_t i = row % (head_dim / 2);
  return head * head_dim + 2 * i + half;
}

class GgufSource final : public ModelSource {
 public:
  GgufSource(const ModelSpec& spec, std::unique_ptr<GgufFile> file,
             absl::flat_hash_map<std::string, Place> tensors,
             std::string fingerprint)
      : spec_(spec),
        file_(std::move(file)),
        tensors_(std::move(tensors)),
        fingerprint_(std::move(fingerprint)) {}

  const ModelSpec& spec() const override { return spec_; }

  absl::StatusOr<TensorInfo> Find(absl::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return NoSuchTensor(name);
    return found->second.info;
  }

  absl::Status Read(absl::string_view name, const TensorSlice& slice,
                    absl::Span<std::byte> out) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return NoSuchTensor(name);
    const Place& place = found->second;
    CARAVAN_RETURN_IF_ERROR(CheckSlice(name, place.info, slice, out.size()));
    const Delivery delivery = {&GgufSource::ReadDecoded,
                               slice.cols() * ByteSize(place.info.dtype())};
    return Annotate(ReadSlice(place, slice, delivery, out), LabelOf(place));
  }

  absl::Status ReadStored(absl::string_view name, const TensorSlice& slice,
                          absl::Span<std::byte> out) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return NoSuchTensor(name);
    const Place& place = found->second;
    CARAVAN_RETURN_IF_ERROR(
        CheckStoredSlice(name, place.info, slice, out.size()));
    const Delivery delivery = {&GgufSource::ReadBlocks,
                               ByteSize(place.info.stored, slice.cols())};
    return Annotate(ReadSlice(place, slice, delivery, out), LabelOf(place));
  }

  std::string Fingerprint() const override { return fingerprint_; }
  int64_t BytesRead() const override { return bytes_read_; }

 private:
  // How a slice comes out: who reads one row, or several whole ones, in the
  // file's order, and the bytes of a row of it.
  struct Delivery {
    absl::Status (GgufSource::*read)(const GgufTensor& tensor,
                                     const TensorSlice& part,
                                     absl::Span<std::byte> out) const;
    int64_t row_bytes;
  };

  std::string LabelOf(const Place& place) const {
    return absl::StrCat(file_->path(), ": tensor \"", place.tensor->name, "\"");
  }

  absl::Status ReadSlice(const Place& place, const TensorSlice& slice,
                         const Delivery& delivery,
                         absl::Span<std::byte> out) const {
    if (out.empty()) return absl::OkStatus();
    // Whole rows in the model's order lie together.
    const bool together =
        place.head_dim == 0 && slice.cols() == place.info.cols;
    const int64_t file_row = ByteSize(place.info.stored, place.info.cols);
    const int64_t most =
        together ? std::max<int64_t>(1, kChunkBytes / file_row) : 1;
    int64_t row = slice.row_begin;
    while (row < slice.row_end) {
      TensorSlice part = slice;
      part.row_begin = place.head_dim == 0 ? row : FileRow(row, place.head_dim);
      const int64_t rows = std::min(most, slice.row_end - row);
      part.row_end = part.row_begin + rows;
      const size_t bytes = static_cast<size_t>(rows * delivery.row_bytes);
      CARAVAN_RETURN_IF_ERROR(
          (this->*delivery.read)(*place.tensor, part, out.subspan(0, bytes)));
      out.remove_prefix(bytes);
      row += rows;
    }
    return absl::OkStatus();
  }

  absl::Status ReadBlocks(const GgufTensor& tensor, const TensorSlice& part,
                          absl::Span<std::byte> out) const {
    const int64_t first = part.row_begin * tensor.cols + part.col_begin;
    return ReadFile(tensor.offset + ByteSize(tensor.format, first), out);
  }

  absl::Status ReadDecoded(const GgufTensor& tensor, const TensorSlice& part,
                           absl::Span<std::byte> out) const {
    if (!IsQuantized(tensor.format)) return ReadBlocks(tensor, part, out);
    // The blocks that hold the elements [first, first + part.count()).
    const int64_t first = part.row_begin * tensor.cols + part.col_begin;
    const int64_t begin = first / kBlockElements * kBlockElements;
    const int64_t end = RoundUp(first + part.count(), kBlockElements);
    std::vector<std::byte> blocks(
        static_cast<size_t>(ByteSize(tensor.format, end - begin)));
    CARAVAN_RETURN_IF_ERROR(
        ReadFile(tensor.offset + ByteSize(tensor.format, begin),
                 absl::MakeSpan(blocks)));
    float* floats = reinterpret_cast<float*>(out.data());
    const size_t wanted = static_cast<size_t>(part.count());
    if (end - begin == part.count()) {
      Decode(tensor.format, blocks, {floats, wanted});
      return absl::OkStatus();
    }
    std::vector<float> values(static_cast<size_t>(end - begin));
    Decode(tensor.format, blocks, absl::MakeSpan(values));
    std::copy_n(values.begin() + (first - begin), wanted, floats);
    return absl::OkStatus();
  }

  absl::Status ReadFile(int64_t offset, absl::Span<std::byte> out) const {
    CARAVAN_RETURN_IF_ERROR(file_->file().Read(offset, out));
    bytes_read_ += static_cast<int64_t>(out.size());
    return absl::OkStatus();
  }

  const ModelSpec spec_;
  const std::unique_ptr<GgufFile> file_;
  const absl::flat_hash_map<std::string, Place> tensors_;
  const std::string fingerprint_;
  mutable std::atomic<int64_t> bytes_read_ = 0;
};

// By GGUF's names, so that a refusal says what the file says.
absl::Status CheckFile(const GgufFile& file, const ModelSpec& spec) {
  TensorTable table;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name == kGgufRopeFactors) continue;  // is in the spec
    table[tensor.name] = {tensor.format, tensor.rows, tensor.cols};
  }
  std::vector<NamedShape> expected = ExpectedTensors(spec);
  for (NamedShape& shape : expected) shape.name = GgufTensorName(shape.name);
  return Annotate(CheckTensors(table, expected), file.path());
}

absl::flat_hash_map<std::string, Place> MakePlaces(const GgufFile& file,
                                                   const ModelSpec& spec) {
  absl::flat_hash_map<std::string, Place> places;
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    Place place;
    place.tensor = file.FindTensor(GgufTensorName(shape.name));
    place.info = {place.tensor->format, shape.rows, shape.cols};
    if (absl::StrContains(shape.name, kQuery) ||
        absl::StrContains(shape.name, kKey)) {
      place.head_dim = spec.head_dim;
    }
    places[shape.name] = place;
  }
  return places;
}

// Metadata and the table of tensors are the file's bytes before its data.
absl::StatusOr<std::string> FingerprintOf(const GgufFile& file) {
  std::string header(static_cast<size_t>(file.data_begin()), '\0');
  CARAVAN_RETURN_IF_ERROR(Annotate(
      file.file().Read(
          0, {reinterpret_cast<std::byte*>(header.data()), header.size()}),
      file.path()));
  FingerprintBuilder fingerprint;
  fingerprint.Add("kind", "gguf");
  fingerprint.Add("size", file.file().size());
  fingerprint.Add("header", header);
  return fingerprint.Finish();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelSource>> OpenGgufSource(
    absl::string_view path) {
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file,
                           OpenFile(path));
  return MakeGgufSource(std::move(file));
}

absl::StatusOr<std::unique_ptr<ModelSource>> MakeGgufSource(
    std::unique_ptr<RandomAccessFile> opened) {
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> file,
                           GgufFile::Parse(std::move(opened)));
  CARAVAN_ASSIGN_OR_RETURN(ModelSpec spec, ReadGgufSpec(*file));
  CARAVAN_RETURN_IF_ERROR(CheckFile(*file, spec));
  absl::flat_hash_map<std::string, Place> places = MakePlaces(*file, spec);
  TensorTable table;
  for (const auto& [name, place] : places) table[name] = place.info;
  spec.dtype = MostCommonDType(table);
  spec.stored = FindStoredFormats(spec, table);
  CARAVAN_ASSIGN_OR_RETURN(std::string fingerprint, FingerprintOf(*file));
  return std::make_unique<GgufSource>(spec, std::move(file), std::move(places),
                                      std::move(fingerprint));
}

}  // namespace caravan::partition
