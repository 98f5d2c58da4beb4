// The two messages between a relay and its agent, one datagram each on a
// SOCK_SEQPACKET socket.
#ifndef CARAVAN_WORKER_AGENT_RELAY_MESSAGE_H_
#define CARAVAN_WORKER_AGENT_RELAY_MESSAGE_H_

#include <sys/un.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace caravan::worker {

inline constexpr size_t kMaxRelayMessageBytes = 128 * 1024;

// Strings, each ended by a zero byte. kInvalidArgument: too long, or a zero
// byte inside or none at the end.
absl::StatusOr<std::string> EncodeArguments(
    absl::Span<const std::string> arguments);
absl::StatusOr<std::vector<std::string>> DecodeArguments(
    absl::string_view message);

// "5:no such node": a code of absl::Status and its message.
std::string EncodeAnswer(const absl::Status& status);
// kInternal when the answer is not understood.
absl::Status DecodeAnswer(absl::string_view message);

// kInvalidArgument when the path is too long for a socket.
absl::StatusOr<sockaddr_un> SocketAddress(absl::string_view path);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_RELAY_MESSAGE_H_
