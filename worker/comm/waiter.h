// How the calls of one group wait.
#ifndef CARAVAN_WORKER_COMM_WAITER_H_
#define CARAVAN_WORKER_COMM_WAITER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

// One call of a Communicator: what it is named in errors and when it must end.
// A steady clock: a step of the machine's time must not break a group.
struct Call {
  absl::string_view operation;
  absl::Duration timeout;
  std::chrono::steady_clock::time_point deadline;
};

// One thread waits, any thread notifies or aborts. A wait spins for some tens
// of microseconds, since most messages come that soon, then blocks.
//
// std::mutex rather than absl::Mutex: Debian's abseil is built without
// ThreadSanitizer's annotations, which then would see races where none are.
class Waiter final {
 public:
  explicit Waiter(const GroupOptions& options);
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  const GroupOptions& options() const { return options_; }
  Call Begin(absl::string_view operation) const;  // with the group's timeout
  Call Begin(absl::string_view operation, absl::Duration timeout) const;

  // Makes the waiting thread look at its condition again; call it after the
  // condition came to hold.
  void Notify();

  // The first reason wins.
  void Abort(const absl::Status& reason);
  // OK, or kAborted with the reason's text.
  absl::Status CheckAborted() const;

  // OK when `ready` holds; kAborted after Abort(); kDeadlineExceeded with the
  // text of `missing` ("peer=3") when the call's time is up. `ready` is called
  // from this thread only, without a lock.
  absl::Status Await(const Call& call, absl::FunctionRef<bool()> ready,
                     absl::FunctionRef<std::string()> missing);

  // For waits of other kinds, which call it now and then: calls on_wait, not
  // more often than it is meant to be. One thread.
  void Tick();

  // kInternal when a message of `peer` has not the size that the call expects.
  absl::Status CheckSize(const Call& call, int peer, int64_t expected,
                         int64_t got) const;
  absl::Status OutOfMemory(int64_t bytes) const;  // kResourceExhausted

 private:
  bool Spin(absl::FunctionRef<bool()> ready) const;
  // Blocks until the next Notify, or a few milliseconds.
  void Block(uint64_t seen);

  const GroupOptions options_;
  std::atomic<bool> aborted_ = false;
  std::atomic<uint64_t> notified_ = 0;  // count of Notify; changes under mutex_
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string reason_;  // under mutex_
  std::chrono::steady_clock::time_point next_tick_;
};

// "peer=1 peer=3"
std::string NamePeers(absl::Span<const int> peers);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_WAITER_H_
