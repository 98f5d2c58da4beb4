#include "worker/comm/tcp/tcp_transport.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

constexpr Channel kChannels[] = {Channel::kCollective, Channel::kPointToPoint};

}  // namespace

TcpTransport::TcpTransport(std::shared_ptr<TcpMesh> mesh,
                           std::vector<TcpMember> members, int rank,
                           const GroupOptions& options)
    : mesh_(std::move(mesh)),
      members_(std::move(members)),
      rank_(rank),
      waiter_(std::make_shared<Waiter>(options)) {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank_) continue;
    for (const Channel channel : kChannels) {
      Connection(peer).Open(Stream(peer, channel), waiter_);
    }
  }
}

TcpTransport::~TcpTransport() {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank_) continue;
    for (const Channel channel : kChannels) {
      Connection(peer).Close(Stream(peer, channel));
    }
  }
}

TcpConnection& TcpTransport::Connection(int peer) const {
  return mesh_->peer(members_[peer].world_rank);
}

TcpStream TcpTransport::Stream(int peer, Channel channel) const {
  return {.group = members_[peer].group, .channel = channel};
}

absl::Status TcpTransport::PeerError(absl::string_view operation, int peer,
                                     const absl::Status& cause) const {
  return Annotate(cause, absl::StrCat(operation, " failed: group=",
                                      waiter_->options().name, " peer=", peer));
}

absl::Status TcpTransport::CheckPeers(absl::string_view operation) const {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank_) continue;
    const absl::Status status = Connection(peer).status();
    if (!status.ok()) return PeerError(operation, peer, status);
  }
  return absl::OkStatus();
}

absl::Status TcpTransport::Send(Channel channel, absl::Span<const int> peers,
                                absl::Span<const std::byte> data) {
  for (const int peer : peers) {
    const absl::Status status =
        Connection(peer).Send(Stream(peer, channel), data);
    if (!status.ok()) return PeerError("send", peer, status);
  }
  return absl::OkStatus();
}

std::vector<int> TcpTransport::MissingPeers(
    Channel channel, absl::Span<const ExpectedMessage> expected) const {
  std::vector<int> missing;
  for (const ExpectedMessage& message : expected) {
    if (!Connection(message.peer).Has(Stream(message.peer, channel))) {
      missing.push_back(message.peer);
    }
  }
  return missing;
}

absl::StatusOr<std::vector<SharedBuffer>> TcpTransport::Receive(
    Channel channel, const Call& call,
    absl::Span<const ExpectedMessage> expected) {
  // The peer that will never send what is still missing; -1: none.
  const auto ended = [&](const std::vector<int>& missing) {
    const auto found =
        std::find_if(missing.begin(), missing.end(),
                     [&](int peer) { return !Connection(peer).status().ok(); });
    return found == missing.end() ? -1 : *found;
  };
  const auto ready = [&] {
    const std::vector<int> missing = MissingPeers(channel, expected);
    return missing.empty() || ended(missing) >= 0;
  };
  CARAVAN_RETURN_IF_ERROR(waiter_->Await(
      call, ready, [&] { return NamePeers(MissingPeers(channel, expected)); }));
  const int peer = ended(MissingPeers(channel, expected));
  if (peer >= 0) {
    return PeerError(call.operation, peer, Connection(peer).status());
  }
  std::vector<SharedBuffer> received;
  for (const ExpectedMessage& message : expected) {
    received.push_back(
        Connection(message.peer).Take(Stream(message.peer, channel)));
    CARAVAN_RETURN_IF_ERROR(waiter_->CheckSize(
        call, message.peer, message.bytes, received.back()->bytes()));
  }
  return received;
}

}  // namespace caravan::worker
