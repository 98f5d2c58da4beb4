#include "worker/backend/token_slots.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace caravan::worker {

ChoiceRows RowsOf(absl::Span<const CandidateRequest> choices) {
  ChoiceRows of;
  for (CandidateRequest request : choices) {
    of.rows.push_back(request.row);
    request.row = std::ssize(of.requests);
    of.requests.push_back(request);
  }
  return of;
}

absl::Status CheckSlots(TokenSlot first, int64_t count, int64_t per_set) {
  CARAVAN_CHECK(first.set >= 0 && first.set < kTokenSets);
  CARAVAN_CHECK(first.index >= 0 && count >= 0);
  if (first.index + count <= per_set) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("more tokens than were reserved: first=", first.index,
                   " tokens=", count, " reserved=", per_set));
}

absl::Status CheckParts(const VocabularyShard& shard, int64_t count,
                        int64_t reserved) {
  CARAVAN_CHECK(shard.rank >= 0 && shard.rank < shard.num_ranks);
  if (shard.num_ranks * count <= reserved) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "more parts of tokens than were reserved: ranks=", shard.num_ranks,
      " tokens=", count, " reserved=", reserved));
}

}  // namespace caravan::worker
