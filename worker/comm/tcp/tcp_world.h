// Ranks as processes that meet by TCP.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_WORLD_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_WORLD_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/communicator.h"
#include "worker/comm/tcp/tcp_listener.h"

namespace caravan::worker {

struct TcpWorldOptions {
  int rank = 0;
  std::vector<std::string> endpoints;  // of the ranks' listeners, by rank
  std::string secret;                  // the same on all ranks, of this epoch
  // Of meeting all others, and of meeting the members of a group.
  absl::Duration join_timeout = absl::Seconds(60);
};

// Needs nobody to start the ranks together: each opens a listener, is told of
// those of all others, and comes here. Blocks until every rank has come.
// kDeadlineExceeded names who did not, kUnavailable whose endpoint cannot be
// reached, kPermissionDenied who is of another epoch. Strangers who dial are
// turned away.
//
// A rank whose process or host goes is noticed when its connection ends, at
// once or after ten seconds of silence. Groups are made as by mpi_world.h.
// Nothing is encrypted.
absl::StatusOr<std::unique_ptr<World>> JoinTcpWorld(
    TcpListener listener, const TcpWorldOptions& options);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_WORLD_H_
