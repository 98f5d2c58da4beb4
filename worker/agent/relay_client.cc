#include "worker/agent/relay_client.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "worker/agent/relay_message.h"

namespace caravan::worker {

absl::Status RelayToAgent(const std::string& socket_path,
                          absl::Span<const std::string> arguments,
                          absl::Duration timeout) {
  CARAVAN_ASSIGN_OR_RETURN(const sockaddr_un address,
                           SocketAddress(socket_path));
  CARAVAN_ASSIGN_OR_RETURN(const std::string message,
                           EncodeArguments(arguments));
  const UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "cannot make a socket");
  const timeval limit = absl::ToTimeval(timeout);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot reach the agent at ", socket_path));
  }
  if (send(fd.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    return absl::ErrnoToStatus(errno, "cannot ask the agent");
  }
  char answer[8192];
  const ssize_t count = recv(fd.get(), answer, sizeof(answer), 0);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the agent has not answered for ", absl::FormatDuration(timeout)));
  }
  if (count < 0) return absl::ErrnoToStatus(errno, "no answer from the agent");
  if (count == 0) {
    return absl::UnavailableError("the agent hung up without an answer");
  }
  return DecodeAnswer(absl::string_view(answer, count));
}

}  // namespace caravan::worker
