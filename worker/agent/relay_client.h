// The relay's side of the relay: what `caravan relay` does.
#ifndef CARAVAN_WORKER_AGENT_RELAY_CLIENT_H_
#define CARAVAN_WORKER_AGENT_RELAY_CLIENT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace caravan::worker {

// The agent's socket, for the relay; set by the agent for mpirun.
inline constexpr char kRelaySocketVariable[] = "CARAVAN_RELAY_SOCKET";

// Hands `HOST COMMAND...` to the agent behind `socket_path` and waits until the
// target node has started its daemon or says why not. Blocks for up to
// `timeout`.
absl::Status RelayToAgent(const std::string& socket_path,
                          absl::Span<const std::string> arguments,
                          absl::Duration timeout);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_RELAY_CLIENT_H_
