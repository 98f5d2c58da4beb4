// Float32 values as they travel in groups whose wire type is bfloat16.
#ifndef CARAVAN_WORKER_COMM_BFLOAT16_VALUES_H_
#define CARAVAN_WORKER_COMM_BFLOAT16_VALUES_H_

#include <cstdint>

#include "absl/types/span.h"

namespace caravan::worker {

// The bits of each value in bfloat16, to nearest even. Every NaN becomes
// 0x7fff, as on GPUs, so that all devices give the same bits. The spans are
// equally long and do not overlap.
void RoundToBFloat16(absl::Span<const float> values,
                     absl::Span<uint16_t> rounded);

// The other way, which is exact.
void WidenBFloat16(absl::Span<const uint16_t> rounded,
                   absl::Span<float> values);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_BFLOAT16_VALUES_H_
