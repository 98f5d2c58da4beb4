#include "tests/support/quantized_source.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/status_macros.h"
#include "partition/model/synthetic_source.h"
#include "partition/model/tensor_names.h"
#include "partition/model/tensor_table.h"

namespace caravan::testing {
namespace {

using partition::ModelSource;
using partition::ModelSpec;
using partition::TensorInfo;
using partition::TensorSlice;

constexpr uint64_t kSeed = 17;

struct StoredTensor {
  TensorInfo info;
  std::vector<std::byte> bytes;
};

class QuantizedSource final : public ModelSource {
 public:
  QuantizedSource(ModelSpec spec,
                  absl::flat_hash_map<std::string, StoredTensor> tensors)
      : spec_(std::move(spec)), tensors_(std::move(tensors)) {}

  const ModelSpec& spec() const override { return spec_; }

  absl::StatusOr<TensorInfo> Find(absl::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return partition::NoSuchTensor(name);
    return found->second.info;
  }

  absl::Status Read(absl::string_view name, const TensorSlice& slice,
                    absl::Span<std::byte> out) const override {
    CARAVAN_ASSIGN_OR_RETURN(const TensorInfo info, Find(name));
    CARAVAN_RETURN_IF_ERROR(CheckSlice(name, info, slice, out.size()));
    std::vector<float> row(info.cols);
    const int64_t row_bytes = ByteSize(info.stored, info.cols);
    float* to = reinterpret_cast<float*>(out.data());
    for (int64_t i = slice.row_begin; i < slice.row_end; ++i) {
      Decode(info.stored,
             absl::MakeConstSpan(tensors_.at(name).bytes)
                 .subspan(i * row_bytes, row_bytes),
             absl::MakeSpan(row));
      to = std::copy(row.begin() + slice.col_begin, row.begin() + slice.col_end,
                     to);
    }
    return absl::OkStatus();
  }

  absl::Status ReadStored(absl::string_view name, const TensorSlice& slice,
                          absl::Span<std::byte> out) const override {
    CARAVAN_ASSIGN_OR_RETURN(const TensorInfo info, Find(name));
    CARAVAN_RETURN_IF_ERROR(CheckStoredSlice(name, info, slice, out.size()));
    const std::byte* from = tensors_.at(name).bytes.data();
    std::byte* to = out.data();
    for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
      const std::byte* begin = from + row * ByteSize(info.stored, info.cols);
      to = std::copy(begin + ByteSize(info.stored, slice.col_begin),
                     begin + ByteSize(info.stored, slice.col_end), to);
    }
    return absl::OkStatus();
  }

  std::string Fingerprint() const override { return "quantized"; }
  int64_t BytesRead() const override { return 0; }

 private:
  const ModelSpec spec_;
  const absl::flat_hash_map<std::string, StoredTensor> tensors_;
};

absl::StatusOr<StoredTensor> EncodeTensor(const ModelSource& source,
                                          const std::string& name,
                                          WeightFormat format) {
  CARAVAN_ASSIGN_OR_RETURN(TensorInfo info, source.Find(name));
  std::vector<float> values(info.rows * info.cols);
  CARAVAN_RETURN_IF_ERROR(
      source.Read(name, {0, info.rows, 0, info.cols},
                  absl::MakeSpan(reinterpret_cast<std::byte*>(values.data()),
                                 values.size() * sizeof(float))));
  if (info.cols % BlockSize(format) != 0) {
    return absl::InvalidArgumentError(name + " is no whole blocks");
  }
  info.stored = format;
  StoredTensor tensor{
      info, std::vector<std::byte>(info.rows * ByteSize(format, info.cols))};
  CARAVAN_RETURN_IF_ERROR(Encode(format, values, absl::MakeSpan(tensor.bytes)));
  return tensor;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelSource>> MakeQuantizedSource(
    const ModelSpec& spec, const ChooseFormat& choose) {
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<ModelSource> plain,
                           partition::MakeSyntheticSource(spec, kSeed));
  absl::flat_hash_map<std::string, StoredTensor> tensors;
  partition::TensorTable table;
  for (const partition::NamedShape& shape : ExpectedTensors(spec)) {
    CARAVAN_ASSIGN_OR_RETURN(
        StoredTensor tensor,
        EncodeTensor(
            *plain, shape.name,
            shape.rows == 1 ? WeightFormat::kFloat32 : choose(shape.name)));
    table[shape.name] = tensor.info;
    tensors[shape.name] = std::move(tensor);
  }
  ModelSpec stored = spec;
  stored.stored = FindStoredFormats(spec, table);
  return std::make_unique<QuantizedSource>(std::move(stored),
                                           std::move(tensors));
}

ModelSpec QuantizableSpec() {
  ModelSpec spec;
  spec.vocab_size = 390;
  spec.hidden_size = 256;
  spec.intermediate_size = 352;
  spec.num_layers = 3;
  spec.num_heads = 6;
  spec.num_kv_heads = 3;
  spec.head_dim = 32;
  spec.max_positions = 256;
  spec.dtype = DType::kFloat32;
  return spec;
}

}  // namespace caravan::testing
