#include "worker/backend/token_slots.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace caravan::worker {

absl::Status CheckSlots(TokenSlot first, int64_t count, int64_t per_set) {
  CARAVAN_CHECK(first.set >= 0 && first.set < kTokenSets);
  CARAVAN_CHECK(first.index >= 0 && count >= 0);
  if (first.index + count <= per_set) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("more tokens than were reserved: first=", first.index,
                   " tokens=", count, " reserved=", per_set));
}

}  // namespace caravan::worker
