#include "worker/comm/tcp/tcp_listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

// A host that does not acknowledge for so long is gone.
constexpr int kSilentMilliseconds = 10'000;
constexpr int kKeepAliveSeconds = 3;
constexpr int kKeepAliveProbes = 3;

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

absl::StatusOr<SocketAddress> MakeAddress(const std::string& host, int port) {
  SocketAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof(*v4);
    return address;
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof(*v6);
    return address;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("not an IP address: '", host, "'"));
}

std::string FormatEndpoint(const std::string& host, int port) {
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? absl::StrCat("[", host, "]:", port)
               : absl::StrCat(host, ":", port);
}

absl::StatusOr<SocketAddress> ParseEndpoint(absl::string_view endpoint) {
  const size_t colon = endpoint.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos ||
      !absl::SimpleAtoi(endpoint.substr(colon + 1), &port) || port < 1 ||
      port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("not ADDRESS:PORT: '", endpoint, "'"));
  }
  absl::string_view host = endpoint.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return MakeAddress(std::string(host), port);
}

absl::StatusOr<UniqueFd> MakeSocket(int family) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "cannot make a socket");
  return fd;
}

}  // namespace

absl::StatusOr<TcpListener> TcpListener::Open(const std::string& address) {
  CARAVAN_ASSIGN_OR_RETURN(SocketAddress bound, MakeAddress(address, 0));
  CARAVAN_ASSIGN_OR_RETURN(UniqueFd fd, MakeSocket(bound.storage.ss_family));
  if (bind(fd.get(), bound.get(), bound.size) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0 ||
      getsockname(fd.get(), bound.get(), &bound.size) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot listen on ", address));
  }
  // The port is at the same place in both kinds of address.
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&bound.storage);
  return TcpListener(std::move(fd),
                     FormatEndpoint(address, ntohs(v4->sin_port)));
}

absl::StatusOr<UniqueFd> DialTcp(absl::string_view endpoint) {
  CARAVAN_ASSIGN_OR_RETURN(SocketAddress address, ParseEndpoint(endpoint));
  CARAVAN_ASSIGN_OR_RETURN(UniqueFd fd, MakeSocket(address.storage.ss_family));
  if (connect(fd.get(), address.get(), address.size) != 0 &&
      errno != EINPROGRESS) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot dial ", endpoint));
  }
  return fd;
}

absl::Status TuneTcp(int fd) {
  const auto set = [fd](int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
  };
  if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && set(IPPROTO_TCP, TCP_NODELAY, 1) &&
      set(SOL_SOCKET, SO_KEEPALIVE, 1) &&
      set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveSeconds) &&
      set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveSeconds) &&
      set(IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes) &&
      set(IPPROTO_TCP, TCP_USER_TIMEOUT, kSilentMilliseconds)) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, "cannot set up a connection");
}

}  // namespace caravan::worker
