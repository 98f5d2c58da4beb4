// What wakes the agent's loop, in order of arrival.
#ifndef CARAVAN_WORKER_AGENT_EVENT_QUEUE_H_
#define CARAVAN_WORKER_AGENT_EVENT_QUEUE_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "caravan/v1/agent.pb.h"
#include "worker/agent/process_table.h"
#include "worker/agent/relay_server.h"

namespace caravan::worker {

// The stream to the coordinator has ended; `dial` tells which of them.
struct StreamEnded {
  uint64_t dial = 0;
  absl::Status status;
};

struct CommandArrived {
  uint64_t dial = 0;
  v1::AgentCommand command;
};

struct StopRequested {};

using AgentEvent = std::variant<CommandArrived, StreamEnded, ProcessExit,
                                RelayCall, StopRequested>;

// Thread-safe. Its producers are few and bounded: children, relays and the
// coordinator, which is trusted by its token.
class EventQueue final {
 public:
  explicit EventQueue(Clock& clock) : clock_(clock) {}

  void Push(AgentEvent event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
    // Stays so: every later wait of the agent ends at once.
    if (std::holds_alternative<StopRequested>(events_.back())) {
      stop_requested_ = true;
    }
  }

  // The next event, or nullopt when there is none by `deadline`.
  std::optional<AgentEvent> Pop(absl::Time deadline) {
    absl::MutexLock lock(&mutex_);
    const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !events_.empty();
    };
    if (!clock_.AwaitWithDeadline(&mutex_, absl::Condition(&some), deadline)) {
      return std::nullopt;
    }
    std::optional<AgentEvent> event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

  bool stop_requested() const {
    absl::MutexLock lock(&mutex_);
    return stop_requested_;
  }

 private:
  Clock& clock_;
  mutable absl::Mutex mutex_;
  std::deque<AgentEvent> events_ ABSL_GUARDED_BY(mutex_);
  bool stop_requested_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_EVENT_QUEUE_H_
