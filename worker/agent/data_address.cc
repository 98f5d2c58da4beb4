#include "worker/agent/data_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/unique_fd.h"

namespace caravan::worker {
namespace {

// The bytes of an IPv4 or IPv6 address; empty for any other family.
absl::string_view AddressBytes(const sockaddr* address) {
  if (address == nullptr) return {};
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return {reinterpret_cast<const char*>(&v4->sin_addr), sizeof(in_addr)};
  }
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    return {reinterpret_cast<const char*>(&v6->sin6_addr), sizeof(in6_addr)};
  }
  return {};
}

int PrefixLength(absl::string_view netmask) {
  int length = 0;
  for (const char byte : netmask) {
    length += __builtin_popcount(static_cast<unsigned char>(byte));
  }
  return length;
}

absl::StatusOr<DataAddress> WithInterface(const sockaddr* local) {
  const absl::string_view bytes = AddressBytes(local);
  char text[INET6_ADDRSTRLEN];
  if (bytes.empty() || inet_ntop(local->sa_family, bytes.data(), text,
                                 sizeof(text)) == nullptr) {
    return absl::UnavailableError("the local address is of no known family");
  }
  DataAddress found;
  int prefix = static_cast<int>(bytes.size()) * 8;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) == 0) {
    for (const ifaddrs* entry = list; entry != nullptr;
         entry = entry->ifa_next) {
      if (AddressBytes(entry->ifa_addr) == bytes) {
        prefix = PrefixLength(AddressBytes(entry->ifa_netmask));
        found.interface = entry->ifa_name;
      }
    }
    freeifaddrs(list);
  }
  found.address = absl::StrCat(text, "/", prefix);
  return found;
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  HostPort parsed;
  if (colon == absl::string_view::npos ||
      !absl::SimpleAtoi(text.substr(colon + 1), &parsed.port) ||
      parsed.port < 1 || parsed.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("not HOST:PORT with a port of 1 to 65535: '", text, "'"));
  }
  absl::string_view host = text.substr(0, colon);
  const bool bracketed =
      absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  const bool has_colon = host.find(':') != absl::string_view::npos;
  if (host.empty() || has_colon != bracketed) {
    return absl::InvalidArgumentError(absl::StrCat(
        "not HOST:PORT (IPv6 goes in brackets, [::1]:7000): '", text, "'"));
  }
  parsed.host = std::string(host);
  return parsed;
}

bool IsLoopback(absl::string_view host) {
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  const std::string text(host);
  in_addr v4;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == 127;
  }
  in6_addr v6;
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 &&
         std::memcmp(&v6, &in6addr_loopback, sizeof(v6)) == 0;
}

absl::StatusOr<DataAddress> FindDataAddress(const HostPort& coordinator) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_DGRAM;  // connecting it sends nothing
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(coordinator.port);
  const int error =
      getaddrinfo(coordinator.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot resolve ", coordinator.host, ": ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found,
                                                             freeaddrinfo);
  int last_error = 0;
  for (const addrinfo* entry = found; entry != nullptr;
       entry = entry->ai_next) {
    const UniqueFd fd(
        socket(entry->ai_family, entry->ai_socktype | SOCK_CLOEXEC, 0));
    sockaddr_storage local = {};
    socklen_t size = sizeof(local);
    if (fd.valid() &&
        connect(fd.get(), entry->ai_addr, entry->ai_addrlen) == 0 &&
        getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &size) ==
            0) {
      return WithInterface(reinterpret_cast<const sockaddr*>(&local));
    }
    last_error = errno;
  }
  return absl::UnavailableError(absl::StrCat("no route to ", coordinator.host,
                                             ": ", std::strerror(last_error)));
}

}  // namespace caravan::worker
