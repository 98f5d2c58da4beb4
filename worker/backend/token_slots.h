// What backends share of the slots of tokens that they choose (backend.h).
#ifndef CARAVAN_WORKER_BACKEND_TOKEN_SLOTS_H_
#define CARAVAN_WORKER_BACKEND_TOKEN_SLOTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

// kResourceExhausted: `count` slots from `first` on are not within those that
// each set has.
absl::Status CheckSlots(TokenSlot first, int64_t count, int64_t per_set);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_TOKEN_SLOTS_H_
