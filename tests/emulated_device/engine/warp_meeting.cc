#include "tests/emulated_device/engine/warp_meeting.h"

#include <cstring>
#include <memory>
#include <string>

#include "tests/emulated_device/engine/sanitizer.h"

namespace caravan::emulated {
namespace {

Meeting& MeetingOf(Warp& warp, unsigned mask) {
  for (const std::unique_ptr<Meeting>& meeting : warp.meetings) {
    if (meeting->mask == mask) return *meeting;
  }
  warp.meetings.push_back(std::make_unique<Meeting>());
  warp.meetings.back()->mask = mask;
  return *warp.meetings.back();
}

void CheckCall(const WarpCall& call, const Fiber& self) {
  if ((call.mask >> self.lane & 1) == 0) {
    Fault(cudaErrorIllegalInstruction,
          std::string(call.name) + ": the calling lane is not in its mask",
          call.site);
  }
  if ((call.mask & self.warp->exited) != 0) {
    Fault(cudaErrorIllegalInstruction,
          std::string(call.name) +
              ": the mask names lanes that have left the kernel",
          call.site);
  }
  if ((call.mask & ~self.warp->exists) != 0) {
    Fault(cudaErrorIllegalInstruction,
          std::string(call.name) + ": the mask names lanes that do not exist",
          call.site);
  }
}

}  // namespace

bool SamePlace(Site a, Site b) {
  return a.line == b.line &&
         (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

Met Meet(const WarpCall& call, const void* data, size_t bytes,
         CompleteMeeting complete, int argument) {
  Fiber* self = Self();
  CheckCall(call, *self);
  Meeting& meeting = MeetingOf(*self->warp, call.mask);
  const int buffer = static_cast<int>(meeting.generation & 1);
  if (meeting.arrived == 0) {
    meeting.name = call.name;
    meeting.site = call.site;
  } else if (!SamePlace(meeting.site, call.site)) {
    Fault(cudaErrorIllegalInstruction,
          std::string(call.name) + " in divergent code: other lanes wait in " +
              meeting.name + " at line " + std::to_string(meeting.site.line),
          call.site);
  }
  if (bytes > 0)
    __builtin_memcpy(meeting.slots[buffer][self->lane], data, bytes);
  meeting.arrived |= 1u << self->lane;
  if (meeting.arrived == meeting.mask) {
    if (complete != nullptr) complete(meeting, buffer, argument);
    meeting.arrived = 0;
    ++meeting.generation;
    Wake(meeting.waiters);
    MaybeYield();
  } else {
    meeting.waiters.push_back(self);
    Suspend(call.name, call.site);
  }
  return {&meeting, buffer};
}

int CurrentLane() { return Self()->lane; }

void Exchange(const WarpCall& call, const void* in, size_t bytes, int source,
              void* out) {
  EngineScope scope;
  const Met met = Meet(call, in, bytes);
  const bool named = (call.mask >> (source & 31) & 1) != 0;
  if (named) {
    __builtin_memcpy(out, met.slot(source & 31), bytes);
  } else {
    __builtin_memset(out, 0xff, bytes);
  }
}

unsigned Ballot(const WarpCall& call, bool predicate) {
  EngineScope scope;
  const Met met = Meet(call, &predicate, sizeof(predicate));
  unsigned votes = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if ((call.mask >> lane & 1) != 0 && met.slot(lane)[0] != 0) {
      votes |= 1u << lane;
    }
  }
  return votes;
}

}  // namespace caravan::emulated
