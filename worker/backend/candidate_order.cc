#include "worker/backend/candidate_order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace caravan::worker {
namespace {

uint32_t OrderedBits(float value) {
  if (std::isnan(value)) value = -std::numeric_limits<float>::infinity();
  if (value == 0) value = 0;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

bool Before(const Candidate& a, const Candidate& b) {
  return KeyOf(a.value, a.id) > KeyOf(b.value, b.id);
}

}  // namespace

CandidateKey KeyOf(float value, int64_t id) {
  return (CandidateKey{OrderedBits(value)} << 32) |
         (~static_cast<uint32_t>(id));
}

int64_t IdOf(CandidateKey key) { return static_cast<uint32_t>(~key); }

ShardCandidates MergeCandidates(absl::Span<const ShardCandidates> pieces,
                                const CandidateRequest& request) {
  ShardCandidates merged;
  for (const ShardCandidates& piece : pieces) {
    merged.top.insert(merged.top.end(), piece.top.begin(), piece.top.end());
    if (piece.winner.id >= 0 &&
        (merged.winner.id < 0 || Before(piece.winner, merged.winner))) {
      merged.winner = piece.winner;
    }
  }
  std::sort(merged.top.begin(), merged.top.end(), Before);
  const size_t wanted = static_cast<size_t>(std::max(request.num_top, 0));
  if (merged.top.size() > wanted) merged.top.resize(wanted);
  return merged;
}

ChosenToken MergeChosen(const ChosenToken& a, const ChosenToken& b) {
  ChosenToken merged = KeyOf(a.value, a.id) > KeyOf(b.value, b.id) ? a : b;
  merged.largest =
      KeyOf(a.largest, 0) >= KeyOf(b.largest, 0) ? a.largest : b.largest;
  return merged;
}

}  // namespace caravan::worker
