// Carries the wishes of mpirun's relay from one agent to another and the
// answers back.
#ifndef CARAVAN_COORDINATOR_CLUSTER_RELAY_ROUTER_H_
#define CARAVAN_COORDINATOR_CLUSTER_RELAY_ROUTER_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "caravan/v1/agent.pb.h"

namespace caravan::coordinator {

// A message to the agent of a node.
struct ToAgent {
  std::string node;
  v1::AgentCommand command;
};

// One epoch's requests. Agents number their requests each on its own, so they
// are numbered anew on the way. Pure; one thread.
class RelayRouter final {
 public:
  // StartDaemon to the target.
  ToAgent Forward(absl::string_view origin, const v1::RelayRequest& request);

  // RelayAnswer to whoever asked. A node other than the one asked, or an
  // unknown number, gives a ToAgent without node.
  ToAgent Answer(absl::string_view target, const v1::DaemonStarted& started);

  // RelayAnswer that refuses at once.
  static ToAgent Refuse(absl::string_view origin,
                        const v1::RelayRequest& request,
                        const absl::Status& status);

  void Clear() { pending_.clear(); }

 private:
  struct Pending {
    std::string origin;
    uint64_t request;  // as the origin numbers it
    std::string target;
  };
  uint64_t next_ = 1;
  std::map<uint64_t, Pending> pending_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_RELAY_ROUTER_H_
