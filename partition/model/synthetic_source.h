// Weights made from a seed, in any shape and without a file.
#ifndef CARAVAN_PARTITION_MODEL_SYNTHETIC_SOURCE_H_
#define CARAVAN_PARTITION_MODEL_SYNTHETIC_SOURCE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "partition/model/model_source.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// An element is a function of seed, tensor name and place alone, so every slice
// of every reader agrees. Matrices are uniform with the standard deviation 0.02
// (transformers' initializer_range), norms are 1; all in spec.dtype.
// kInvalidArgument: the spec is not valid.
absl::StatusOr<std::unique_ptr<ModelSource>> MakeSyntheticSource(
    const ModelSpec& spec, uint64_t seed);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_SYNTHETIC_SOURCE_H_
