// The order of candidates, and how those of a row's pieces become one.
#ifndef CARAVAN_WORKER_BACKEND_CANDIDATE_ORDER_H_
#define CARAVAN_WORKER_BACKEND_CANDIDATE_ORDER_H_

#include <cstdint>

#include "absl/types/span.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

// A candidate as a number: the larger, the earlier; among equal values that of
// the lower id. NaN has no place in the order of floats and is put where minus
// infinity is; -0 is no less than 0.
using CandidateKey = uint64_t;
CandidateKey KeyOf(float value, int64_t id);
int64_t IdOf(CandidateKey key);

// What a whole row contributes to `request`, from the contributions of its
// pieces in any division. Their `top` may be in any order.
ShardCandidates MergeCandidates(absl::Span<const ShardCandidates> pieces,
                                const CandidateRequest& request);

// What two shards of a row choose together.
ChosenToken MergeChosen(const ChosenToken& a, const ChosenToken& b);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CANDIDATE_ORDER_H_
