// Messages of one group over TCP.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_TRANSPORT_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/comm/tcp/tcp_mesh.h"
#include "worker/comm/transport.h"

namespace caravan::worker {

// A member of the group, as seen from this rank.
struct TcpMember {
  int world_rank = 0;
  // The number of this group among those that both ranks are in.
  uint32_t group = 0;
};

// A peer whose connection has ended is known at once, not at the deadline:
// kUnavailable names it and says how it ended.
class TcpTransport final : public Transport {
 public:
  TcpTransport(std::shared_ptr<TcpMesh> mesh, std::vector<TcpMember> members,
               int rank, const GroupOptions& options);
  // What was sent still travels.
  ~TcpTransport() override;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  Waiter& waiter() override { return *waiter_; }

  // OK while no connection to a member has ended; else what would be said of
  // `operation` with the first of them. Any thread.
  absl::Status CheckPeers(absl::string_view operation) const;

  absl::Status Send(Channel channel, absl::Span<const int> peers,
                    absl::Span<const std::byte> data) override;
  absl::StatusOr<std::vector<SharedBuffer>> Receive(
      Channel channel, const Call& call,
      absl::Span<const ExpectedMessage> expected) override;

 private:
  TcpConnection& Connection(int peer) const;
  TcpStream Stream(int peer, Channel channel) const;
  // Who of `expected` has sent nothing yet.
  std::vector<int> MissingPeers(
      Channel channel, absl::Span<const ExpectedMessage> expected) const;
  absl::Status PeerError(absl::string_view operation, int peer,
                         const absl::Status& cause) const;

  const std::shared_ptr<TcpMesh> mesh_;
  const std::vector<TcpMember> members_;
  const int rank_;
  const std::shared_ptr<Waiter> waiter_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_TRANSPORT_H_
