// The rows of one forward pass and where their keys and values lie.
#ifndef CARAVAN_WORKER_BACKEND_BATCH_H_
#define CARAVAN_WORKER_BACKEND_BATCH_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace caravan::worker {

inline constexpr int64_t kKvBlockTokens = 16;

// New tokens of one sequence: rows [first_row, first_row + num_rows) at
// positions [first_position, first_position + num_rows).
struct BatchSequence {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int64_t first_position = 0;
  // The sequence's whole block list; covers first_position + num_rows
  // positions.
  absl::Span<const int32_t> blocks;
};

// Rows beyond those of its sequences are padding, which backends give
// themselves (Backend::RunStep): nothing is read or written for them but rows
// of tensors, which then hold anything.
struct Batch {
  std::vector<BatchSequence> sequences;
  int64_t num_rows = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_BATCH_H_
