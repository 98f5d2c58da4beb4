#include "worker/comm/rank_ordered_sum.h"

#include <algorithm>
#include <cstring>

#include "worker/comm/bfloat16_values.h"

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

void SumInRankOrder(absl::Span<const uint16_t* const> addends,
                    absl::Span<uint16_t> out) {
  alignas(64) float sum[kBlock];
  alignas(64) float values[kBlock];
  for (size_t begin = 0; begin < out.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, out.size() - begin);
    WidenBFloat16({addends[0] + begin, count}, {sum, count});
    for (const uint16_t* const addend : addends.subspan(1)) {
      WidenBFloat16({addend + begin, count}, {values, count});
      for (size_t i = 0; i < count; ++i) sum[i] += values[i];
    }
    RoundToBFloat16({sum, count}, out.subspan(begin, count));
  }
}

}  // namespace caravan::worker
