// The one place where addends of several ranks meet.
#ifndef CARAVAN_WORKER_COMM_RANK_ORDERED_SUM_H_
#define CARAVAN_WORKER_COMM_RANK_ORDERED_SUM_H_

#include "absl/types/span.h"

namespace caravan::worker {

// out[i] = ((addends[0][i] + addends[1][i]) + addends[2][i]) + ..., each
// rounded to float32. `out` may be one of the addends; otherwise they do not
// overlap. At least one addend.
void SumInRankOrder(absl::Span<const float* const> addends,
                    absl::Span<float> out);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_RANK_ORDERED_SUM_H_
