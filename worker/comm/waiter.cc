#include "worker/comm/waiter.h"

#include <sched.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

namespace caravan::worker {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kSpin = std::chrono::microseconds(20);
constexpr auto kTick = std::chrono::milliseconds(3);  // of on_wait
// A longer timeout is as good as none, and the sum must not overflow.
constexpr absl::Duration kLongestTimeout = absl::Hours(24);

}  // namespace

Waiter::Waiter(const GroupOptions& options) : options_(options) {}

Call Waiter::Begin(absl::string_view operation) const {
  return Begin(operation, options_.timeout);
}

Call Waiter::Begin(absl::string_view operation, absl::Duration timeout) const {
  return {operation, timeout,
          SteadyClock::now() +
              absl::ToChronoNanoseconds(std::min(timeout, kLongestTimeout))};
}

void Waiter::Notify() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    notified_.fetch_add(1);
  }
  changed_.notify_all();
}

void Waiter::Abort(const absl::Status& reason) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!aborted_.load()) {
      reason_ = std::string(reason.message());
      aborted_.store(true);
    }
  }
  Notify();
}

absl::Status Waiter::CheckAborted() const {
  if (!aborted_.load(std::memory_order_relaxed)) return absl::OkStatus();
  std::lock_guard<std::mutex> lock(mutex_);
  return absl::AbortedError(
      absl::StrCat("group aborted: group=", options_.name, ": ", reason_));
}

absl::Status Waiter::Await(const Call& call, absl::FunctionRef<bool()> ready,
                           absl::FunctionRef<std::string()> missing) {
  if (Spin(ready)) return CheckAborted();
  while (true) {
    const uint64_t seen = notified_.load();
    if (absl::Status aborted = CheckAborted(); !aborted.ok()) return aborted;
    if (ready()) return absl::OkStatus();
    if (SteadyClock::now() >= call.deadline) {
      return absl::DeadlineExceededError(absl::StrCat(
          call.operation, " timed out: group=", options_.name, " ", missing(),
          " after=", absl::FormatDuration(call.timeout)));
    }
    Block(seen);
    if (options_.on_wait != nullptr) {
      options_.on_wait(options_.on_wait_context);
    }
  }
}

void Waiter::Tick() {
  if (options_.on_wait == nullptr) return;
  const SteadyClock::time_point now = SteadyClock::now();
  if (now < next_tick_) return;
  next_tick_ = now + kTick;
  options_.on_wait(options_.on_wait_context);
}

absl::Status Waiter::CheckSize(const Call& call, int peer, int64_t expected,
                               int64_t got) const {
  if (got == expected) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      call.operation, " got a message of another size: group=", options_.name,
      " peer=", peer, " expected=", expected, " got=", got));
}

absl::Status Waiter::OutOfMemory(int64_t bytes) const {
  return absl::ResourceExhaustedError(absl::StrCat(
      "no memory for a message: group=", options_.name, " bytes=", bytes));
}

bool Waiter::Spin(absl::FunctionRef<bool()> ready) const {
  const SteadyClock::time_point end = SteadyClock::now() + kSpin;
  do {
    if (ready() || aborted_.load(std::memory_order_relaxed)) return true;
    // The thread that we wait for may need this core.
    sched_yield();
  } while (SteadyClock::now() < end);
  return false;
}

void Waiter::Block(uint64_t seen) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, kTick, [&] { return notified_.load() != seen; });
}

std::string NamePeers(absl::Span<const int> peers) {
  return absl::StrJoin(peers, " ", [](std::string* out, int peer) {
    absl::StrAppend(out, "peer=", peer);
  });
}

}  // namespace caravan::worker
