// Where a rank is to be found by the others.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_LISTENER_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_LISTENER_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace caravan::worker {

// An open port on one address of this host, from before the other ranks know
// of it until all have come. Move it to JoinTcpWorld.
class TcpListener final {
 public:
  // `address`: an IPv4 or IPv6 address without brackets. The kernel chooses the
  // port. kInvalidArgument: no such address; else what errno says.
  static absl::StatusOr<TcpListener> Open(const std::string& address);

  // "10.0.0.2:45123", "[fd00::2]:45123": what the others dial.
  const std::string& endpoint() const { return endpoint_; }
  int fd() const { return fd_.get(); }

 private:
  TcpListener(UniqueFd fd, std::string endpoint)
      : fd_(std::move(fd)), endpoint_(std::move(endpoint)) {}

  UniqueFd fd_;
  std::string endpoint_;
};

// Begins to connect to such an endpoint; the result is ready for writing when
// that has ended, well or badly. kInvalidArgument: not an endpoint.
absl::StatusOr<UniqueFd> DialTcp(absl::string_view endpoint);

// What every connection of the data plane is set to: not to be held back, not
// to block, and to end when the peer's host is silent.
absl::Status TuneTcp(int fd);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_LISTENER_H_
