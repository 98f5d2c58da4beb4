#include "worker/agent/relay_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/agent/mark.h"
#include "worker/agent/relay_message.h"

namespace caravan::worker {
namespace {

constexpr size_t kMaxConnections = 1100;
constexpr int kPollMilliseconds = 1000;

// For which epoch the process at the other end may speak.
absl::StatusOr<EpochKey> CallerEpoch(int fd, const std::string& incarnation) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return absl::ErrnoToStatus(errno, "cannot tell who calls");
  }
  if (peer.uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat("user ", peer.uid, " may not use the relay"));
  }
  const std::optional<Mark> mark = ReadMark(peer.pid);
  if (!mark || mark->incarnation != incarnation) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the relay serves only what this agent started, not pid ", peer.pid));
  }
  return mark->epoch;
}

void SendAnswer(int fd, const absl::Status& status) {
  const std::string message = EncodeAnswer(status);
  if (send(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT) <
      0) {
    LogWarning(
        absl::StrCat("a relay went away before its answer: errno ", errno));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<RelayServer>> RelayServer::Start(
    Options options) {
  CARAVAN_ASSIGN_OR_RETURN(const sockaddr_un address,
                           SocketAddress(options.socket_path));
  std::unique_ptr<RelayServer> server(new RelayServer(std::move(options)));
  server->listener_ = UniqueFd(
      socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  server->wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->listener_.valid() || !server->wake_.valid()) {
    return absl::ErrnoToStatus(errno, "cannot make the relay's socket");
  }
  // The folder is locked by this agent: what is there is a predecessor's.
  unlink(address.sun_path);
  if (bind(server->listener_.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof(address)) != 0 ||
      listen(server->listener_.get(), 128) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot listen at ", address.sun_path));
  }
  try {
    server->thread_ = std::thread([raw = server.get()] { raw->Serve(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot start a thread: ", error.what()));
  }
  return server;
}

RelayServer::~RelayServer() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_.get(), 1);
  thread_.join();
  unlink(options_.socket_path.c_str());
}

void RelayServer::Answer(uint64_t request, const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  const auto found = connections_.find(request);
  if (found == connections_.end()) return;
  SendAnswer(found->second.fd.get(), status);
  // The serving thread sees the relay hang up and drops the connection.
}

void RelayServer::Serve() {
  while (true) {
    std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0},
                                  {listener_.get(), POLLIN, 0}};
    std::vector<uint64_t> ids = {0, 0};
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [id, connection] : connections_) {
        polled.push_back({connection.fd.get(), POLLIN, 0});
        ids.push_back(id);
      }
    }
    // Sleeps for ever while there is nothing whose time can run out.
    const int timeout = polled.size() > 2 ? kPollMilliseconds : -1;
    if (poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) {
      LogError(absl::StrCat("the relay's poll failed: errno ", errno));
      return;
    }
    if (polled[0].revents != 0) return;
    for (size_t i = 2; i < polled.size(); ++i) {
      if (polled[i].revents == 0 || Read(ids[i])) continue;
      absl::MutexLock lock(&mutex_);
      connections_.erase(ids[i]);
    }
    if (polled[1].revents != 0) Accept();
    DropLate();
  }
}

void RelayServer::Accept() {
  UniqueFd fd(
      accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) return;
  absl::MutexLock lock(&mutex_);
  if (connections_.size() >= kMaxConnections) {
    SendAnswer(fd.get(), absl::ResourceExhaustedError("too many relays"));
    return;
  }
  connections_.emplace(
      next_id_++,
      Connection{.fd = std::move(fd), .deadline = absl::Now() + kTimeout});
}

bool RelayServer::Read(uint64_t id) {
  RelayCall call = {.request = id};
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    Connection& connection = connections_.at(id);
    std::string message(kMaxRelayMessageBytes + 1, '\0');
    const ssize_t count =
        recv(connection.fd.get(), message.data(), message.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (count <= 0 || connection.asked) return false;  // it hung up
    connection.asked = true;
    message.resize(count);
    status = [&]() -> absl::Status {
      CARAVAN_ASSIGN_OR_RETURN(
          call.epoch, CallerEpoch(connection.fd.get(), options_.incarnation));
      CARAVAN_ASSIGN_OR_RETURN(const std::vector<std::string> arguments,
                               DecodeArguments(message));
      CARAVAN_ASSIGN_OR_RETURN(call.daemon, ParseRelayCommand(arguments));
      return absl::OkStatus();
    }();
    if (!status.ok()) SendAnswer(connection.fd.get(), status);
  }
  if (!status.ok()) {
    LogWarning(absl::StrCat("refused a relay: ", status.ToString()));
    return false;
  }
  options_.on_call(std::move(call));
  return true;
}

void RelayServer::DropLate() {
  const absl::Time now = absl::Now();
  absl::MutexLock lock(&mutex_);
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (it->second.deadline > now) {
      ++it;
      continue;
    }
    SendAnswer(it->second.fd.get(),
               absl::DeadlineExceededError("no answer from the target node"));
    it = connections_.erase(it);
  }
}

}  // namespace caravan::worker
