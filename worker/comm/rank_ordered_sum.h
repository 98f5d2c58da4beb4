// The one place where addends of several ranks meet.
#ifndef CARAVAN_WORKER_COMM_RANK_ORDERED_SUM_H_
#define CARAVAN_WORKER_COMM_RANK_ORDERED_SUM_H_

#include <cstdint>

#include "absl/types/span.h"

namespace caravan::worker {

// out[i] = ((addends[0][i] + addends[1][i]) + addends[2][i]) + ..., each
// rounded to float32. `out` may be one of the addends; otherwise they do not
// overlap. At least one addend.
void SumInRankOrder(absl::Span<const float* const> addends,
                    absl::Span<float> out);

// The same of bfloat16 (bfloat16_values.h): added in float32, and the sum is
// rounded to bfloat16.
void SumInRankOrder(absl::Span<const uint16_t* const> addends,
                    absl::Span<uint16_t> out);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_RANK_ORDERED_SUM_H_
