// How an engine holds each matrix of a model: a pure function of what the
// checkpoint stores, of the shard, and of what was asked for. The plan counts
// by it and the engine loads by it.
#ifndef CARAVAN_PARTITION_PLAN_HELD_FORMAT_H_
#define CARAVAN_PARTITION_PLAN_HELD_FORMAT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/weight_format.h"
#include "partition/model/model_spec.h"
#include "partition/plan/shard_map.h"

namespace caravan::partition {

enum class Quantization {
  kAuto,  // quantized tensors stay as they are stored
  kNone,  // everything is decoded
  kQ8,    // everything becomes 8 bits
  kQ4,    // everything becomes 4 bits
};

absl::string_view Name(
    Quantization quantization);  // "auto", "none", "q8", "q4"
// By such a name. kInvalidArgument lists them.
absl::StatusOr<Quantization> ParseQuantization(absl::string_view name);

struct HoldOptions {
  Quantization quantization = Quantization::kAuto;
  DType dtype = DType::kBFloat16;  // of what is not quantized
};

// kInvalidArgument: the checkpoint stores less than is asked for, and says what
// can be.
absl::Status CheckQuantization(const ModelSpec& spec,
                               Quantization quantization);

// Of a matrix that is made of columns `columns` of tensors that are stored so,
// one below the other.
//   kNone: dtype.
//   kAuto: where all are quantized, the smallest format that has all their
//   values: their own, or for kQ4 with kQ4Minimum that, with kQ8 kQ8; kFloat32
//   where there is none, where columns cut a block, or where only some are
//   quantized. Where none is: dtype.
//   kQ8, kQ4: that, though 4 bits with a minimum stay so. Where columns cut a
//   block: dtype, or kFloat32 if one of them is stored quantized.
WeightFormat HeldFormat(absl::Span<const WeightFormat> stored,
                        const Range& columns, const HoldOptions& options);

// Of one layer's matrices as a rank joins them.
struct HeldLayer {
  WeightFormat qkv;
  WeightFormat attention_output;
  WeightFormat gate_up;
  WeightFormat down;
};
HeldLayer HeldLayerFormats(const ModelSpec& spec, const TensorShard& shard,
                           const HoldOptions& options, int64_t layer);
WeightFormat HeldEmbedding(const ModelSpec& spec, const HoldOptions& options);
WeightFormat HeldHead(const ModelSpec& spec, const HoldOptions& options);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_HELD_FORMAT_H_
