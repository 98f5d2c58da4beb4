// Arriving together: what barriers, warp collectives and reductions share.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_WARP_MEETING_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_WARP_MEETING_H_

#include <cstddef>

#include "tests/emulated_device/engine/grid_state.h"

namespace caravan::emulated {

// Sites are literals of one translation unit or equal texts of several.
bool SamePlace(Site a, Site b);

// What a lane reads after a meeting.
struct Met {
  Meeting* meeting;
  int buffer;

  const unsigned char* slot(int lane) const {
    return meeting->slots[buffer][lane];
  }
};

// Run by the lane that arrives last, over all that was brought.
using CompleteMeeting = void (*)(Meeting& meeting, int buffer, int argument);

// Brings `bytes` at `data` to the lanes of the mask; returns when all of them
// have arrived. Faults if a lane is missing, is not in its own mask or is
// elsewhere.
Met Meet(const WarpCall& call, const void* data, size_t bytes,
         CompleteMeeting complete = nullptr, int argument = 0);

// The block's barrier in two halves; between them a thread can tell from
// `arrived == live` that it is the last.
void ArriveAtBlockBarrier(const char* name, Site site);
void AwaitBlockBarrier(const char* name, Site site);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_WARP_MEETING_H_
