// A step's input with rows of padding behind its own.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_PADDED_STEP_H_
#define CARAVAN_WORKER_BACKEND_CUDA_PADDED_STEP_H_

#include <cstdint>
#include <vector>

#include "worker/backend/backend.h"

namespace caravan::worker::cuda {

// Of a step in which every row has a token or none, and is chosen for or none:
// so has padding. Its embeddings are zeros, and what is chosen for it goes to
// slots that nobody reads.
class PaddedStep final {
 public:
  // Of whose blocks it makes no copy.
  PaddedStep(const StepInput& input, int64_t num_rows);
  PaddedStep(const PaddedStep&) = delete;
  PaddedStep& operator=(const PaddedStep&) = delete;

  const StepInput& input() const { return input_; }

 private:
  std::vector<int32_t> ids_;
  std::vector<CandidateRequest> choices_;
  StepInput input_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_PADDED_STEP_H_
