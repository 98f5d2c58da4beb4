// One membership of this node in the cluster: from the Hello on a fresh stream
// to the stream's end.
#ifndef CARAVAN_WORKER_AGENT_MEMBERSHIP_H_
#define CARAVAN_WORKER_AGENT_MEMBERSHIP_H_

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "worker/agent/control_stream.h"
#include "worker/agent/epoch_killer.h"
#include "worker/agent/event_queue.h"
#include "worker/agent/launcher.h"
#include "worker/agent/relay_server.h"
#include "worker/agent/runtime_folder.h"

namespace caravan::worker {

// What a membership works with; all of it outlives it.
struct MembershipParts {
  Clock& clock;
  EventQueue& events;
  Launcher& launcher;
  RuntimeFolder& folder;
  ProcessTable& processes;
  RelayServer& relays;
};

// Says Hello, sends heartbeats, does what the coordinator commands, and ends
// when the stream does or when the coordinator has been silent for the lease.
// It leaves its processes to the caller, who kills them: without a coordinator
// that knows of them they are of no use. One thread.
class Membership final {
 public:
  static constexpr absl::Duration kHeartbeatInterval = absl::Milliseconds(500);
  // From dialing to the coordinator's Welcome.
  static constexpr absl::Duration kWelcomeTimeout = absl::Seconds(5);

  struct End {
    enum class Kind {
      kLost,     // dial again
      kRefused,  // the coordinator does not want this agent: give up
      kStopped,  // by signal or command
    };
    Kind kind = Kind::kLost;
    absl::Status status;
    bool was_welcome = false;
  };

  // `dial` tells this stream's events from those of earlier ones.
  Membership(const std::string& coordinator, uint64_t dial, std::string node,
             MembershipParts parts);

  End Run(v1::AgentReport hello);

  // After the processes are gone: tells the coordinator that the agent leaves,
  // and waits a little for the stream to end well.
  void SayGoodbye();

 private:
  absl::Time NextWakeUp() const;
  std::optional<End> Handle(AgentEvent event);
  std::optional<End> HandleCommand(const v1::AgentCommand& command);
  absl::Status HandleWelcome(const v1::Welcome& welcome);
  void HandleLaunch(const EpochKey& key, const absl::Status& status);
  void HandleStartDaemon(const v1::StartDaemon& command);
  void HandleRelayCall(RelayCall call);
  void HandleExit(const ProcessExit& exit);
  void BeginKill(const EpochKey& key);
  void ContinueKills();
  void SendHeartbeat();
  void SendLastProgress(const EpochKey& key);
  void Send(v1::AgentReport report);

  const uint64_t dial_;
  const std::string node_;
  MembershipParts parts_;
  ControlStream stream_;
  bool welcome_ = false;
  absl::Duration lease_ = kWelcomeTimeout;
  absl::Time last_heard_;
  absl::Time next_heartbeat_ = absl::InfiniteFuture();
  struct Kill {
    EpochKey key;
    EpochKiller killer;
  };
  std::list<Kill> kills_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_MEMBERSHIP_H_
