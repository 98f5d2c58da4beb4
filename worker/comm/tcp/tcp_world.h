// Ranks as processes that meet by TCP.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_WORLD_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_WORLD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/communicator.h"
#include "worker/comm/tcp/tcp_listener.h"
#include "worker/comm/tcp/tcp_mesh.h"
#include "worker/comm/tcp/tcp_transport.h"

namespace caravan::worker {

struct TcpWorldOptions {
  int rank = 0;
  std::vector<std::string> endpoints;  // of the ranks' listeners, by rank
  std::string secret;                  // the same on all ranks, of this epoch
  // Of meeting all others, and of meeting the members of a group.
  absl::Duration join_timeout = absl::Seconds(60);
};

class TcpWorld final : public World {
 public:
  TcpWorld(std::shared_ptr<TcpMesh> mesh, absl::Duration join_timeout);

  int rank() const override { return mesh_->rank(); }
  int size() const override { return mesh_->size(); }

  absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(
      const GroupOptions& options) override;

  // A group's messages alone, for communicators that say other things by them.
  // Counts as a group.
  absl::StatusOr<std::unique_ptr<TcpTransport>> CreateTransport(
      const GroupOptions& options);

 private:
  const std::shared_ptr<TcpMesh> mesh_;
  const absl::Duration join_timeout_;
  std::vector<uint32_t> groups_with_;  // by world rank
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
absl::StatusOr<std::unique_ptr<TcpWorld>> JoinTcpWorld(
    TcpListener listener, const TcpWorldOptions& options);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_WORLD_H_
