// One matrix made of slices of several tensors, one below the other, as fused
// weights are (query + key + value, gate + up).
#ifndef CARAVAN_WORKER_ENGINE_MATRIX_PARTS_H_
#define CARAVAN_WORKER_ENGINE_MATRIX_PARTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/weight_format.h"
#include "partition/model/model_source.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

struct MatrixPart {
  std::string tensor;
  partition::TensorSlice slice;
};

// A reader over `parts`, which have equally many columns, for a matrix that
// will be held as `hold_as`. It delivers what is stored, where that is the same
// for all parts and their columns cut no block; else `hold_as`, where that is
// quantized; else the decoded type, or float32 where those differ. `source`
// outlives it.
absl::StatusOr<MatrixReader> JoinParts(const partition::ModelSource& source,
                                       std::vector<MatrixPart> parts,
                                       WeightFormat hold_as);

// Reads `slice` as float32 whatever the tensor's type.
absl::StatusOr<std::vector<float>> ReadFloats(
    const partition::ModelSource& source, const MatrixPart& part);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_MATRIX_PARTS_H_
