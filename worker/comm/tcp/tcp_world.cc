#include "worker/comm/tcp/tcp_world.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/comm/group_check.h"
#include "worker/comm/group_meeting.h"
#include "worker/comm/message_communicator.h"
#include "worker/comm/tcp/tcp_meeting.h"

namespace caravan::worker {

TcpWorld::TcpWorld(std::shared_ptr<TcpMesh> mesh, absl::Duration join_timeout)
    : mesh_(std::move(mesh)),
      join_timeout_(join_timeout),
      groups_with_(mesh_->size(), 0) {}

absl::StatusOr<std::unique_ptr<TcpTransport>> TcpWorld::CreateTransport(
    const GroupOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const int mine,
                           FindGroupRank(options, rank(), size()));
  std::vector<TcpMember> members;
  for (const int member : options.world_ranks) {
    // Both sides count the groups that both are in, so they agree on numbers
    // without a word.
    members.push_back({member, groups_with_[member]++});
  }
  auto transport =
      std::make_unique<TcpTransport>(mesh_, std::move(members), mine, options);
  CARAVAN_RETURN_IF_ERROR(MeetMembers(*transport, join_timeout_));
  return transport;
}

absl::StatusOr<std::unique_ptr<Communicator>> TcpWorld::CreateGroup(
    const GroupOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<TcpTransport> transport,
                           CreateTransport(options));
  return std::make_unique<MessageCommunicator>(std::move(transport));
}

absl::StatusOr<std::unique_ptr<TcpWorld>> JoinTcpWorld(
    TcpListener listener, const TcpWorldOptions& options) {
  const int num_ranks = static_cast<int>(options.endpoints.size());
  if (options.rank < 0 || options.rank >= num_ranks) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no such rank: rank=", options.rank, " ranks=", num_ranks));
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<UniqueFd> connections,
                           TcpMeeting(std::move(listener), options).Hold());
  CARAVAN_ASSIGN_OR_RETURN(
      std::unique_ptr<TcpMesh> mesh,
      TcpMesh::Start(options.rank, std::move(connections)));
  return std::make_unique<TcpWorld>(std::move(mesh), options.join_timeout);
}

}  // namespace caravan::worker
