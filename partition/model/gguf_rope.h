// The rotary embedding's part of a GGUF file.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_ROPE_H_
#define CARAVAN_PARTITION_MODEL_GGUF_ROPE_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "partition/model/gguf_file.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// Fills spec.rope; spec.head_dim and spec.max_positions must be set. Under
// linear scaling spec.max_positions becomes the stretched context, as for
// config.json. Errors as ReadGgufSpec's.
absl::Status ReadGgufRope(const GgufFile& file, ModelSpec& spec);

// The divisors of RoPE's head_dim / 2 frequencies under kLlama3, as llama.cpp's
// converter computes and stores them.
std::vector<double> Llama3Divisors(const RopeSpec& rope, int64_t head_dim);

// The kLlama3 parameters behind stored divisors: theirs is the form in which
// GGUF files have this scaling. `original_max_positions` is assumed, and the
// low and high frequency factors are Llama 3's 1 and 4. kUnimplemented: the
// divisors are others.
absl::StatusOr<RopeSpec> InferLlama3(absl::Span<const float> divisors,
                                     double theta,
                                     int64_t original_max_positions);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_ROPE_H_
