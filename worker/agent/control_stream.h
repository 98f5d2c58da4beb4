// One stream to the coordinator, AgentControl.Attach, from dialing to its end.
#ifndef CARAVAN_WORKER_AGENT_CONTROL_STREAM_H_
#define CARAVAN_WORKER_AGENT_CONTROL_STREAM_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace caravan::v1 {
class AgentCommand;
class AgentReport;
}  // namespace caravan::v1

namespace caravan::worker {

// Thread-safe. The callbacks come from gRPC's threads and must not block;
// `on_end` comes once, last. The destructor cancels the stream and waits for
// its end, which then is local and prompt.
class ControlStream final {
 public:
  struct Callbacks {
    std::function<void(v1::AgentCommand)> on_command;
    std::function<void(absl::Status)> on_end;
  };

  // Dials in the background: an unreachable coordinator shows as the stream's
  // end with kUnavailable.
  ControlStream(const std::string& coordinator, Callbacks callbacks);
  ~ControlStream();
  ControlStream(const ControlStream&) = delete;
  ControlStream& operator=(const ControlStream&) = delete;

  // Queues; false when the stream has ended or the coordinator reads so slowly
  // that the queue is full.
  bool Send(v1::AgentReport report);

  // Says goodbye after what is queued; the end follows.
  void Finish();
  // Ends now.
  void Cancel();

 private:
  class Reactor;
  std::unique_ptr<Reactor> reactor_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_CONTROL_STREAM_H_
