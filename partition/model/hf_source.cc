#include "partition/model/hf_source.h"

#include <atomic>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "partition/model/fingerprint.h"
#include "partition/model/hf_folder.h"
#include "partition/model/hf_shards.h"
#include "partition/model/tensor_names.h"
#include "partition/model/tensor_table.h"

namespace caravan::partition {
namespace {

class HfSource final : public ModelSource {
 public:
  HfSource(const ModelSpec& spec, HfShards shards, std::string fingerprint)
      : spec_(spec),
        shards_(std::move(shards)),
        fingerprint_(std::move(fingerprint)) {}

  const ModelSpec& spec() const override { return spec_; }

  absl::StatusOr<TensorInfo> Find(absl::string_view name) const override {
    const auto found = shards_.tensors.find(name);
    if (found == shards_.tensors.end()) return NoSuchTensor(name);
    return found->second.info;
  }

  absl::Status Read(absl::string_view name, const TensorSlice& slice,
                    absl::Span<std::byte> out) const override {
    const auto found = shards_.tensors.find(name);
    if (found == shards_.tensors.end()) return NoSuchTensor(name);
    const HfShards::Place& place = found->second;
    CARAVAN_RETURN_IF_ERROR(CheckSlice(name, place.info, slice, out.size()));
    return Annotate(ReadSlice(place, slice, out),
                    absl::StrCat(shards_.files[place.file]->path(),
                                 ": tensor \"", name, "\""));
  }

  absl::Status ReadStored(absl::string_view name, const TensorSlice& slice,
                          absl::Span<std::byte> out) const override {
    return Read(name, slice, out);  // nothing is quantized
  }

  std::string Fingerprint() const override { return fingerprint_; }
  int64_t BytesRead() const override { return bytes_read_; }

 private:
  absl::Status ReadSlice(const HfShards::Place& place, const TensorSlice& slice,
                         absl::Span<std::byte> out) const {
    if (out.empty()) return absl::OkStatus();
    const int64_t element = ByteSize(place.info.dtype());
    // Whole rows lie together.
    const bool whole = slice.cols() == place.info.cols;
    const size_t bytes =
        whole ? out.size() : static_cast<size_t>(slice.cols() * element);
    int64_t row = slice.row_begin;
    while (!out.empty()) {
      const int64_t first = row * place.info.cols + slice.col_begin;
      CARAVAN_RETURN_IF_ERROR(shards_.files[place.file]->Read(
          place.offset + first * element, out.subspan(0, bytes)));
      bytes_read_ += static_cast<int64_t>(bytes);
      out.remove_prefix(bytes);
      ++row;
    }
    return absl::OkStatus();
  }

  const ModelSpec spec_;
  const HfShards shards_;
  const std::string fingerprint_;
  mutable std::atomic<int64_t> bytes_read_ = 0;
};

// What files may hold beside the model's tensors.
bool IsIgnored(absl::string_view name, const ModelSpec& spec) {
  // Frequencies, which follow from the configuration: old transformers saved
  // them.
  if (absl::EndsWith(name, ".rotary_emb.inv_freq")) return true;
  // The embedding again.
  return spec.tied_embeddings && name == kHead;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelSource>> OpenHfSource(
    absl::string_view folder, absl::string_view config_overrides) {
  CARAVAN_ASSIGN_OR_RETURN(HfConfiguration configuration,
                           ReadHfConfiguration(folder, config_overrides));
  FingerprintBuilder fingerprint;
  fingerprint.Add("kind", "safetensors");
  fingerprint.Add("config", configuration.text);
  fingerprint.Add("generation config", configuration.generation_text);
  CARAVAN_ASSIGN_OR_RETURN(HfShards shards, OpenHfShards(folder, fingerprint));
  ModelSpec& spec = configuration.spec;
  absl::erase_if(shards.tensors, [&](const auto& entry) {
    return IsIgnored(entry.first, spec);
  });
  TensorTable table;
  for (const auto& [name, place] : shards.tensors) table[name] = place.info;
  CARAVAN_RETURN_IF_ERROR(
      Annotate(CheckTensors(table, ExpectedTensors(spec)), folder));
  spec.dtype = MostCommonDType(table);
  CARAVAN_ASSIGN_OR_RETURN(std::string hash, fingerprint.Finish());
  return std::make_unique<HfSource>(spec, std::move(shards), std::move(hash));
}

}  // namespace caravan::partition
