#include "bench/gpu/repeating_source.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/dtype.h"
#include "base/status_macros.h"
#include "partition/model/tensor_names.h"
#include "partition/model/tensor_table.h"

namespace caravan::bench {
namespace {

using partition::ModelSpec;
using partition::TensorInfo;
using partition::TensorSlice;

// Whole blocks of every format; more than a row of any model.
constexpr int64_t kPieceElements = int64_t{1} << 20;

absl::StatusOr<std::vector<std::byte>> RandomPiece(WeightFormat format) {
  std::minstd_rand random(1);
  // A uniform distribution over [-a, a] has the standard deviation a / sqrt(3).
  std::uniform_real_distribution<float> uniform(-0.0346f, 0.0346f);
  std::vector<float> values(kPieceElements);
  for (float& value : values) value = uniform(random);
  std::vector<std::byte> piece(ByteSize(format, kPieceElements));
  CARAVAN_RETURN_IF_ERROR(Encode(format, values, absl::MakeSpan(piece)));
  return piece;
}

void SetFormat(WeightFormat format, ModelSpec& spec) {
  spec.dtype = DType::kBFloat16;
  if (!IsQuantized(format)) {
    spec.dtype = DecodedDType(format);
    return;
  }
  spec.stored = {.embedding = format, .head = format};
  spec.stored.layers.assign(spec.num_layers, {format, format, format, format,
                                              format, format, format});
}

class RepeatingSource final : public partition::ModelSource {
 public:
  RepeatingSource(ModelSpec spec, WeightFormat format,
                  std::vector<std::byte> piece)
      : spec_(std::move(spec)), piece_(std::move(piece)) {
    for (const partition::NamedShape& shape : ExpectedTensors(spec_)) {
      const bool is_norm = absl::StrContains(shape.name, "norm");
      tensors_[shape.name] = {is_norm ? WeightFormat::kFloat32 : format,
                              shape.rows, shape.cols};
    }
  }

  const ModelSpec& spec() const override { return spec_; }

  absl::StatusOr<TensorInfo> Find(absl::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return partition::NoSuchTensor(name);
    return found->second;
  }

  absl::Status Read(absl::string_view name, const TensorSlice& slice,
                    absl::Span<std::byte> out) const override {
    CARAVAN_ASSIGN_OR_RETURN(const TensorInfo info, Find(name));
    CARAVAN_RETURN_IF_ERROR(CheckSlice(name, info, slice, out.size()));
    if (!IsQuantized(info.stored)) return ReadStored(name, slice, out);
    std::vector<std::byte> stored(slice.rows() *
                                  ByteSize(info.stored, slice.cols()));
    CARAVAN_RETURN_IF_ERROR(ReadStored(name, slice, absl::MakeSpan(stored)));
    Decode(info.stored, stored,
           absl::MakeSpan(reinterpret_cast<float*>(out.data()), slice.count()));
    return absl::OkStatus();
  }

  absl::Status ReadStored(absl::string_view name, const TensorSlice& slice,
                          absl::Span<std::byte> out) const override {
    CARAVAN_ASSIGN_OR_RETURN(const TensorInfo info, Find(name));
    CARAVAN_RETURN_IF_ERROR(CheckStoredSlice(name, info, slice, out.size()));
    if (absl::StrContains(name, "norm")) {
      std::fill_n(reinterpret_cast<float*>(out.data()), slice.count(), 1.0f);
      return absl::OkStatus();
    }
    for (size_t done = 0; done < out.size();) {
      const size_t bytes = std::min(piece_.size(), out.size() - done);
      std::memcpy(out.data() + done, piece_.data(), bytes);
      done += bytes;
    }
    return absl::OkStatus();
  }

  std::string Fingerprint() const override { return "repeating"; }
  int64_t BytesRead() const override { return 0; }

 private:
  const ModelSpec spec_;
  const std::vector<std::byte> piece_;
  partition::TensorTable tensors_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<partition::ModelSource>> MakeRepeatingSource(
    ModelSpec spec, WeightFormat format) {
  SetFormat(format, spec);
  CARAVAN_RETURN_IF_ERROR(Validate(spec));
  for (const int64_t cols :
       {spec.hidden_size, spec.attention_size(), spec.intermediate_size}) {
    if (cols % BlockSize(format) == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("rows are no whole blocks: format=", Name(format),
                     " cols=", cols, " block=", BlockSize(format)));
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<std::byte> piece, RandomPiece(format));
  return std::make_unique<RepeatingSource>(std::move(spec), format,
                                           std::move(piece));
}

}  // namespace caravan::bench
