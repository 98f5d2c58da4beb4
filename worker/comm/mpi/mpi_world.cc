#include "worker/comm/mpi/mpi_world.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/comm/group_check.h"
#include "worker/comm/group_meeting.h"
#include "worker/comm/message_communicator.h"
#include "worker/comm/mpi/mpi_transport.h"

namespace caravan::worker {
namespace {

// MPI promises tags up to 32767.
constexpr int kMostGroupsOfTwoRanks = 32767 / 2;

class MpiWorld final : public World {
 public:
  MpiWorld(const MpiWorldOptions& options, std::unique_ptr<MpiThread> thread)
      : options_(options),
        thread_(std::move(thread)),
        groups_with_(thread_->size(), 0) {}

  ~MpiWorld() override {
    const absl::Status status = thread_->Stop(options_.finalize_timeout);
    if (!status.ok()) {
      LogWarning(absl::StrCat("MPI did not end cleanly: ", status.ToString()));
    }
  }

  int rank() const override { return thread_->rank(); }
  int size() const override { return thread_->size(); }

  absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(
      const GroupOptions& options) override {
    CARAVAN_ASSIGN_OR_RETURN(const int mine,
                             FindGroupRank(options, rank(), size()));
    std::vector<MpiMember> members;
    for (const int member : options.world_ranks) {
      // Both sides count the groups that both are in, so they agree on tags
      // without a word.
      const int earlier = groups_with_[member];
      if (earlier >= kMostGroupsOfTwoRanks) {
        return absl::ResourceExhaustedError(
            absl::StrCat("too many groups: group=", options.name,
                         " most=", kMostGroupsOfTwoRanks));
      }
      members.push_back({member, 2 * earlier});
    }
    for (const int member : options.world_ranks) ++groups_with_[member];
    auto transport = std::make_unique<MpiTransport>(thread_, std::move(members),
                                                    mine, options);
    CARAVAN_RETURN_IF_ERROR(MeetMembers(*transport, options_.init_timeout));
    return std::make_unique<MessageCommunicator>(std::move(transport));
  }

 private:
  const MpiWorldOptions options_;
  const std::shared_ptr<MpiThread> thread_;
  std::vector<int> groups_with_;  // by world rank
};

}  // namespace

absl::StatusOr<std::unique_ptr<World>> CreateMpiWorld(
    const MpiWorldOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<MpiThread> thread,
                           MpiThread::Start(options.init_timeout));
  return std::make_unique<MpiWorld>(options, std::move(thread));
}

}  // namespace caravan::worker
