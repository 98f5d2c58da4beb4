// How the members of a new group make sure that they mean the same one.
#ifndef CARAVAN_WORKER_COMM_GROUP_MEETING_H_
#define CARAVAN_WORKER_COMM_GROUP_MEETING_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/comm/transport.h"

namespace caravan::worker {

// Exchanges a hash of name, members and wire type with all members; blocks
// until they have come. kDeadlineExceeded names who did not,
// kFailedPrecondition who was told of another group.
absl::Status MeetMembers(Transport& transport, absl::Duration timeout);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_GROUP_MEETING_H_
