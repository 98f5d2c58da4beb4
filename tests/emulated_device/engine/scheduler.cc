// Which fiber runs next, and how a grid ends early.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <utility>

#include "tests/emulated_device/engine/grid_state.h"
#include "tests/emulated_device/engine/sanitizer.h"
#include "tests/emulated_device/settings.h"

namespace caravan::emulated {
namespace {

// Rounds of nothing but waiting after which a loop waits for nobody.
constexpr int kMaxIdleRounds = 10000;

std::atomic<uint64_t>& Seed() {
  static std::atomic<uint64_t> seed = GetSettings().schedule_seed;
  return seed;
}

// Owns the text: nothing may be left on the stack that is abandoned.
[[gnu::noinline]] void RecordFault(cudaError_t error, std::string what,
                                   Site site) {
  GridResult& result = State().result;
  if (result.error != cudaSuccess) return;
  result.error = error;
  result.fault = what + ", " + Describe(*Self(), site);
}

}  // namespace

thread_local ThreadView* current_thread = nullptr;
char grid_ends = 0;

GridState& State() {
  static thread_local GridState state;
  return state;
}

void SetScheduleSeed(uint64_t seed) { Seed() = seed; }
uint64_t ScheduleSeed() { return Seed(); }

Fiber* TakeReady() {
  EngineScope scope;  // a vector moves its elements by a library function
  GridState& state = State();
  std::vector<Fiber*>& ready = state.ready;
  if (state.ready_begin == ready.size()) {
    ready.clear();
    state.ready_begin = 0;
    return nullptr;
  }
  const uint64_t seed = ScheduleSeed();
  if (seed == 1) {
    Fiber* last = ready.back();
    ready.pop_back();
    return last;
  }
  if (seed > 1) {
    const size_t choice = state.random() % (ready.size() - state.ready_begin);
    std::swap(ready[state.ready_begin], ready[state.ready_begin + choice]);
  }
  Fiber* next = ready[state.ready_begin++];
  constexpr size_t kCompactFrom = 4096;
  if (state.ready_begin > kCompactFrom &&
      state.ready_begin * 2 > ready.size()) {
    ready.erase(ready.begin(),
                ready.begin() + static_cast<ptrdiff_t>(state.ready_begin));
    state.ready_begin = 0;
  }
  return next;
}

void RunNext(Fiber* self, bool ended) {
  // It may never run again: what it did comes before the end of the grid.
  Release(&State().end_order);
  Fiber* next = TakeReady();
  if (next == self) return;
  current_thread = next;
  self->context.SwitchTo(next != nullptr ? next->context : State().thread,
                         ended);
}

void Wake(std::vector<Fiber*>& waiters) {
  EngineScope scope;
  GridState& state = State();
  state.ready.insert(state.ready.end(), waiters.begin(), waiters.end());
  waiters.clear();
  state.idle_yields = 0;
}

void Suspend(const char* waiting_in, Site site) {
  Fiber* self = Self();
  self->waiting_in = waiting_in;
  self->waiting_at = site;
  RunNext(self, /*ended=*/false);
}

void MaybeYield() {
  if (ScheduleSeed() == 0) return;
  Fiber* self = Self();
  State().ready.push_back(self);
  RunNext(self, /*ended=*/false);
}

void Yield(Site site) {
  EngineScope scope;
  Fiber* self = Self();
  GridState& state = State();
  if (++state.idle_yields > kMaxIdleRounds * std::max(1, state.alive)) {
    Fault(cudaErrorLaunchTimeout, "waits in a loop for what nobody does", site);
  }
  // Not at the front of a descending schedule, which would starve the others.
  if (ScheduleSeed() == 1) {
    state.ready.insert(
        state.ready.begin() + static_cast<ptrdiff_t>(state.ready_begin), self);
  } else {
    state.ready.push_back(self);
  }
  RunNext(self, /*ended=*/false);
}

std::string Describe(const Fiber& fiber, Site site) {
  char text[512];
  const uint3& block = fiber.block->index;
  std::snprintf(text, sizeof(text),
                "block (%u,%u,%u) thread (%u,%u,%u) at %s:%d", block.x, block.y,
                block.z, fiber.index.x, fiber.index.y, fiber.index.z, site.file,
                site.line);
  return text;
}

void LeaveFaulted() {
  Fiber* self = Self();
  Release(&State().end_order);
  current_thread = nullptr;
  self->context.SwitchTo(State().thread, /*ended=*/false);
  __builtin_unreachable();
}

void Fault(cudaError_t error, std::string what, Site site) {
  RecordFault(error, std::move(what), site);
  LeaveFaulted();
}

void FaultFromSignal(const char* what, const void* address) {
  if (current_thread == nullptr) return;
  char text[128];
  std::snprintf(
      text, sizeof(text), "%s %p",
      Self()->context.IsStackOverflow(address) ? "stack overflow" : what,
      address);
  Fault(cudaErrorIllegalAddress, text, {"unknown", 0});
}

void CheckAlignment(const void* address, size_t bytes, const char* what,
                    Site site) {
  if (reinterpret_cast<uintptr_t>(address) % bytes == 0) return;
  Fault(cudaErrorMisalignedAddress, std::string(what) + " misaligned", site);
}

}  // namespace caravan::emulated
