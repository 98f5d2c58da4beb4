#include "worker/comm/rank_ordered_sum.h"

#include <algorithm>
#include <cstring>

namespace caravan::worker {
namespace {

// Fits the first-level cache together with the addends' parts.
constexpr size_t kBlock = 1024;

}  // namespace

void SumInRankOrder(absl::Span<const float* const> addends,
                    absl::Span<float> out) {
  // The sum of a block is kept apart, so that `out` may be any addend and every
  // rank runs the same instructions: even the bits of a NaN agree.
  alignas(64) float sum[kBlock];
  for (size_t begin = 0; begin < out.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, out.size() - begin);
    std::memcpy(sum, addends[0] + begin, count * sizeof(float));
    for (const float* const addend : addends.subspan(1)) {
      for (size_t i = 0; i < count; ++i) sum[i] += addend[begin + i];
    }
    std::memcpy(out.data() + begin, sum, count * sizeof(float));
  }
}

}  // namespace caravan::worker
