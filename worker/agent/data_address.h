// Addresses: of the coordinator as the user wrote it, and the own one that
// reaches it.
#ifndef CARAVAN_WORKER_AGENT_DATA_ADDRESS_H_
#define CARAVAN_WORKER_AGENT_DATA_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::worker {

struct HostPort {
  std::string host;
  int port = 0;
};

// "10.0.0.1:7000", "node-a:7000", "[::1]:7000".
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text);

// True only for what is on this machine by its spelling: "localhost",
// 127.0.0.0/8, ::1.
bool IsLoopback(absl::string_view host);

struct DataAddress {
  std::string address;    // with its subnet's prefix length: "10.0.0.2/24"
  std::string interface;  // "eth0"; empty when none has the address
};

// The local address from which the kernel would reach `coordinator`. Sends
// nothing; may wait for the resolver when the host is a name. kUnavailable when
// there is no way there.
absl::StatusOr<DataAddress> FindDataAddress(const HostPort& coordinator);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_DATA_ADDRESS_H_
