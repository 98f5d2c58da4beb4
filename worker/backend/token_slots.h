// Of the tokens that backends choose, and their slots (backend.h).
#ifndef CARAVAN_WORKER_BACKEND_TOKEN_SLOTS_H_
#define CARAVAN_WORKER_BACKEND_TOKEN_SLOTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/tensor.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

// Which rows of a batch need logits for choices among them, and the requests
// for those: of the first row of logits, the second, and so on.
struct ChoiceRows {
  std::vector<int64_t> rows;
  std::vector<CandidateRequest> requests;
};
ChoiceRows RowsOf(absl::Span<const CandidateRequest> choices);

// kResourceExhausted: `count` slots from `first` on are not within those that
// each set has.
absl::Status CheckSlots(TokenSlot first, int64_t count, int64_t per_set);

// kResourceExhausted: there is no room for what the ranks find for so many
// requests.
absl::Status CheckParts(const VocabularyShard& shard, int64_t count,
                        int64_t reserved);

// So many ChosenToken in the device's memory, as ranks gather them.
inline Tensor PartsAsTensor(void* parts, int64_t count) {
  static_assert(sizeof(ChosenToken) == 3 * sizeof(float));
  return {parts, DType::kFloat32, count, 3};
}

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_TOKEN_SLOTS_H_
