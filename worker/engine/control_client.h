// The engine's end of its stream to the coordinator.
#ifndef CARAVAN_WORKER_ENGINE_CONTROL_CLIENT_H_
#define CARAVAN_WORKER_ENGINE_CONTROL_CLIENT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "caravan/v1/engine.pb.h"

namespace caravan::worker {

// Dials at construction; all methods are thread-safe. The stream's end, for
// whatever reason, ends the engine: there is no second dial.
class ControlClient final {
 public:
  explicit ControlClient(const std::string& address);
  // Cancels what is left of the stream and waits for it.
  ~ControlClient();
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  // Queues `report`; never blocks. Dropped when the stream has ended.
  void Send(v1::EngineReport report);

  // Blocks until the next command. kAborted: the coordinator has ended the
  // epoch; kUnavailable: the stream has ended otherwise; kDeadlineExceeded:
  // nothing came in time.
  absl::StatusOr<v1::EngineCommand> Next(absl::Time deadline);

  // Blocks until everything queued is on its way, the stream has ended or
  // `timeout` has passed.
  void Flush(absl::Duration timeout);

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_CONTROL_CLIENT_H_
