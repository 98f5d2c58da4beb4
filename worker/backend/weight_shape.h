// Shapes that a weight can have.
#ifndef CARAVAN_WORKER_BACKEND_WEIGHT_SHAPE_H_
#define CARAVAN_WORKER_BACKEND_WEIGHT_SHAPE_H_

#include "absl/status/status.h"
#include "base/weight_format.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

// kInvalidArgument: the matrix has no elements, or its rows are no whole blocks
// of the format that it comes in or of the one that it is to be held as.
absl::Status CheckShape(const MatrixReader& reader, WeightFormat hold_as);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_WEIGHT_SHAPE_H_
