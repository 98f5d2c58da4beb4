#include "partition/plan/held_format.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace caravan::partition {
namespace {

bool IsFourBits(WeightFormat format) {
  return format == WeightFormat::kQ4 || format == WeightFormat::kQ4Minimum;
}

bool AnyQuantized(absl::Span<const WeightFormat> stored) {
  return std::any_of(stored.begin(), stored.end(), IsQuantized);
}

// Which quantized format has all values of all of `stored`, the smallest first;
// kFloat32: none.
WeightFormat Join(absl::Span<const WeightFormat> stored) {
  for (const WeightFormat format :
       {WeightFormat::kQ4, WeightFormat::kQ4Minimum, WeightFormat::kQ8}) {
    if (std::all_of(stored.begin(), stored.end(), [&](WeightFormat each) {
          return ConvertsExactly(each, format);
        })) {
      return format;
    }
  }
  return WeightFormat::kFloat32;
}

// As asked for, whatever is lost.
WeightFormat Quantize(absl::Span<const WeightFormat> stored,
                      Quantization quantization) {
  if (quantization == Quantization::kQ8) return WeightFormat::kQ8;
  const bool has_minimum = std::find(stored.begin(), stored.end(),
                                     WeightFormat::kQ4Minimum) != stored.end();
  return has_minimum ? WeightFormat::kQ4Minimum : WeightFormat::kQ4;
}

// Of an unquantized checkpoint, all of whose tensors are treated alike.
LayerFormats StoredLayer(const ModelSpec& spec, int64_t layer) {
  if (spec.is_quantized()) return spec.stored.layers[layer];
  const WeightFormat plain = FormatOf(spec.dtype);
  return {plain, plain, plain, plain, plain, plain, plain};
}

WeightFormat HeldVocabulary(const ModelSpec& spec, WeightFormat stored,
                            const HoldOptions& options) {
  if (!spec.is_quantized()) stored = FormatOf(spec.dtype);
  return HeldFormat({stored}, {0, spec.hidden_size}, options);
}

}  // namespace

absl::string_view Name(Quantization quantization) {
  switch (quantization) {
    case Quantization::kAuto:
      return "auto";
    case Quantization::kNone:
      return "none";
    case Quantization::kQ8:
      return "q8";
    case Quantization::kQ4:
      return "q4";
  }
  return "unknown";
}

absl::StatusOr<Quantization> ParseQuantization(absl::string_view name) {
  for (const Quantization quantization :
       {Quantization::kAuto, Quantization::kNone, Quantization::kQ8,
        Quantization::kQ4}) {
    if (name == Name(quantization)) return quantization;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--quantization must be auto, none, q8 or q4, is \"", name, "\""));
}

absl::Status CheckQuantization(const ModelSpec& spec,
                               Quantization quantization) {
  if (quantization != Quantization::kQ8) return absl::OkStatus();
  const auto four_bits = [](const LayerFormats& layer) {
    return IsFourBits(layer.query) || IsFourBits(layer.key) ||
           IsFourBits(layer.value) || IsFourBits(layer.attention_output) ||
           IsFourBits(layer.gate) || IsFourBits(layer.up) ||
           IsFourBits(layer.down);
  };
  const StoredFormats& stored = spec.stored;
  if (!IsFourBits(stored.embedding) && !IsFourBits(stored.head) &&
      std::none_of(stored.layers.begin(), stored.layers.end(), four_bits)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "--quantization q8: the checkpoint stores weights in 4 bits, which 8 "
      "bits would make larger and no better; auto and q4 compute with them as "
      "they are, none decodes them");
}

WeightFormat HeldFormat(absl::Span<const WeightFormat> stored,
                        const Range& columns, const HoldOptions& options) {
  const WeightFormat plain = FormatOf(options.dtype);
  if (options.quantization == Quantization::kNone) return plain;
  const bool any = AnyQuantized(stored);
  if (options.quantization == Quantization::kAuto && !any) return plain;
  if (columns.begin % kBlockElements != 0 ||
      columns.end % kBlockElements != 0) {
    return any ? WeightFormat::kFloat32 : plain;
  }
  return options.quantization == Quantization::kAuto
             ? Join(stored)
             : Quantize(stored, options.quantization);
}

HeldLayer HeldLayerFormats(const ModelSpec& spec, const TensorShard& shard,
                           const HoldOptions& options, int64_t layer) {
  const LayerFormats stored = StoredLayer(spec, layer);
  const Range all = {0, spec.hidden_size};
  const Range heads = {shard.heads.begin * spec.head_dim,
                       shard.heads.end * spec.head_dim};
  return {
      .qkv = HeldFormat({stored.query, stored.key, stored.value}, all, options),
      .attention_output = HeldFormat({stored.attention_output}, heads, options),
      .gate_up = HeldFormat({stored.gate, stored.up}, all, options),
      .down = HeldFormat({stored.down}, shard.mlp_columns, options)};
}

WeightFormat HeldEmbedding(const ModelSpec& spec, const HoldOptions& options) {
  return HeldVocabulary(spec, spec.stored.embedding, options);
}

WeightFormat HeldHead(const ModelSpec& spec, const HoldOptions& options) {
  return HeldVocabulary(spec, spec.stored.head, options);
}

}  // namespace caravan::partition
