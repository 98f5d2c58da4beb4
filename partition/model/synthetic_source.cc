#include "partition/model/synthetic_source.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "base/status_macros.h"
#include "partition/model/fingerprint.h"
#include "partition/model/tensor_names.h"
#include "partition/model/tensor_table.h"

namespace caravan::partition {
namespace {

constexpr int64_t kHalfLevels = 1 << 15;
constexpr int64_t kLevels = 2 * kHalfLevels;  // values of an element
// A uniform distribution over [-a, a] has the standard deviation a / sqrt(3).
constexpr float kRange = 0.02f * 1.7320508f;

float LevelValue(int64_t level) {
  return (static_cast<float>(level) + 0.5f - kHalfLevels) *
         (kRange / kHalfLevels);
}

// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom
// number generators, OOPSLA 2014): every input bit changes every output bit.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;

uint64_t TensorKey(uint64_t seed, absl::string_view name) {
  uint64_t key = Mix(seed + kGolden);
  for (char c : name) {
    key = Mix(key + kGolden + static_cast<unsigned char>(c));
  }
  return key;
}

// One number of the generator serves four elements with 16 bits each.
inline uint16_t Level(uint64_t word, int64_t element) {
  return static_cast<uint16_t>(word >> (16 * (element & 3)));
}
inline uint64_t Word(uint64_t key, int64_t element) {
  return Mix(key + kGolden * static_cast<uint64_t>(element >> 2));
}

// Elements [begin, end) of a tensor; `values` has one per level.
template <typename T>
T* Fill(uint64_t key, int64_t begin, int64_t end, const T* values, T* out) {
  int64_t element = begin;
  for (; element < end && (element & 3) != 0; ++element) {
    *out++ = values[Level(Word(key, element), element)];
  }
  for (; element + 4 <= end; element += 4, out += 4) {
    const uint64_t word = Word(key, element);
    for (int lane = 0; lane < 4; ++lane) out[lane] = values[Level(word, lane)];
  }
  for (; element < end; ++element) {
    *out++ = values[Level(Word(key, element), element)];
  }
  return out;
}

class SyntheticSource final : public ModelSource {
 public:
  SyntheticSource(const ModelSpec& spec, uint64_t seed, std::string fingerprint)
      : spec_(spec), seed_(seed), fingerprint_(std::move(fingerprint)) {
    for (const NamedShape& shape : ExpectedTensors(spec)) {
      tensors_[shape.name] = {FormatOf(spec.dtype), shape.rows, shape.cols};
    }
    BuildValues();
  }

  const ModelSpec& spec() const override { return spec_; }

  absl::StatusOr<TensorInfo> Find(absl::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return NoSuchTensor(name);
    return found->second;
  }

  absl::Status Read(absl::string_view name, const TensorSlice& slice,
                    absl::Span<std::byte> out) const override {
    CARAVAN_ASSIGN_OR_RETURN(const TensorInfo info, Find(name));
    CARAVAN_RETURN_IF_ERROR(CheckSlice(name, info, slice, out.size()));
    if (ByteSize(info.dtype()) == 4) {
      FillSlice(name, info, slice, wide_values_,
                reinterpret_cast<float*>(out.data()));
    } else {
      FillSlice(name, info, slice, narrow_values_,
                reinterpret_cast<uint16_t*>(out.data()));
    }
    return absl::OkStatus();
  }

  absl::Status ReadStored(absl::string_view name, const TensorSlice& slice,
                          absl::Span<std::byte> out) const override {
    return Read(name, slice, out);  // nothing is quantized
  }

  std::string Fingerprint() const override { return fingerprint_; }
  int64_t BytesRead() const override { return 0; }

 private:
  // One value per level and, at the end, 1.
  void BuildValues() {
    for (int64_t level = 0; level <= kLevels; ++level) {
      const float value = level == kLevels ? 1.0f : LevelValue(level);
      switch (spec_.dtype) {
        case DType::kFloat32:
          wide_values_.push_back(value);
          break;
        case DType::kFloat16:
          narrow_values_.push_back(FloatToFloat16(value));
          break;
        case DType::kBFloat16:
          narrow_values_.push_back(FloatToBFloat16(value));
          break;
      }
    }
  }

  template <typename T>
  void FillSlice(absl::string_view name, const TensorInfo& info,
                 const TensorSlice& slice, const std::vector<T>& values,
                 T* out) const {
    if (absl::StrContains(name, "norm")) {
      std::fill_n(out, slice.count(), values[kLevels]);
      return;
    }
    const uint64_t key = TensorKey(seed_, name);
    for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
      out = Fill(key, row * info.cols + slice.col_begin,
                 row * info.cols + slice.col_end, values.data(), out);
    }
  }

  const ModelSpec spec_;
  const uint64_t seed_;
  const std::string fingerprint_;
  TensorTable tensors_;
  std::vector<float> wide_values_;
  std::vector<uint16_t> narrow_values_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelSource>> MakeSyntheticSource(
    const ModelSpec& spec, uint64_t seed) {
  CARAVAN_RETURN_IF_ERROR(Validate(spec));
  FingerprintBuilder fingerprint;
  fingerprint.Add("kind", "synthetic");
  fingerprint.Add("seed", absl::StrCat(seed));
  fingerprint.Add(spec);
  CARAVAN_ASSIGN_OR_RETURN(std::string hash, fingerprint.Finish());
  return std::make_unique<SyntheticSource>(spec, seed, std::move(hash));
}

}  // namespace caravan::partition
