// Checks that every kind of World does alike.
#ifndef CARAVAN_WORKER_COMM_GROUP_CHECK_H_
#define CARAVAN_WORKER_COMM_GROUP_CHECK_H_

#include "absl/status/statusor.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {

// The rank that `world_rank` of `world_size` has in the group. kInvalidArgument
// when the options make no group or it is no member.
absl::StatusOr<int> FindGroupRank(const GroupOptions& options, int world_rank,
                                  int world_size);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_GROUP_CHECK_H_
