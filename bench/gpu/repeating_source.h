// A checkpoint for benchmarks: any shape, stored in any format, at the speed of
// a copy.
#ifndef CARAVAN_BENCH_GPU_REPEATING_SOURCE_H_
#define CARAVAN_BENCH_GPU_REPEATING_SOURCE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "base/weight_format.h"
#include "partition/model/model_source.h"
#include "partition/model/model_spec.h"

namespace caravan::bench {

// Matrices repeat one piece of random values (uniform, deviation 0.02), stored
// as `format`; norms are 1. Read as different parts, an element need not be the
// same: this is for one rank that measures. The spec tells of the format.
// kInvalidArgument: the spec is not valid, or its rows are no whole blocks.
absl::StatusOr<std::unique_ptr<partition::ModelSource>> MakeRepeatingSource(
    partition::ModelSpec spec, WeightFormat format);

}  // namespace caravan::bench

#endif  // CARAVAN_BENCH_GPU_REPEATING_SOURCE_H_
