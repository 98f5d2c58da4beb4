#include "worker/engine/rank_door.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::worker {

absl::StatusOr<std::string> RankDoor::Open(const std::string& address) {
  if (address.empty()) return std::string();
  CARAVAN_ASSIGN_OR_RETURN(TcpListener listener, TcpListener::Open(address));
  listener_ = std::move(listener);
  return listener_->endpoint();
}

absl::StatusOr<std::unique_ptr<TcpWorld>> RankDoor::Join(
    const RankSetup& setup, absl::Duration timeout) {
  if (!listener_.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the agent gave no address at which other ranks can dial this one: "
        "rank=",
        setup.rank, " ranks=", setup.plan->ranks_size()));
  }
  TcpWorldOptions options = {.rank = setup.rank,
                             .secret = setup.plan->meeting_secret(),
                             .join_timeout = timeout};
  for (const v1::RankPlan& rank : setup.plan->ranks()) {
    options.endpoints.push_back(rank.endpoint());
  }
  TcpListener listener = *std::move(listener_);
  listener_.reset();
  return JoinTcpWorld(std::move(listener), options);
}

}  // namespace caravan::worker
