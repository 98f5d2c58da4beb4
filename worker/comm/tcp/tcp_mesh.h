// One connection between each two ranks, and the messages that come by them.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_MESH_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_MESH_H_

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "worker/comm/buffer_pool.h"
#include "worker/comm/tcp/tcp_connection.h"

namespace caravan::worker {

// A thread of its own reads what comes and writes what did not fit the kernel's
// buffers at once. While nothing comes it sleeps. A connection that ends stays
// ended. Thread-safe.
class TcpMesh final {
 public:
  // `connections` by rank; that of `rank` itself is empty.
  static absl::StatusOr<std::unique_ptr<TcpMesh>> Start(
      int rank, std::vector<UniqueFd> connections);

  // Waits a moment for what was sent to leave, then closes the connections.
  ~TcpMesh();
  TcpMesh(const TcpMesh&) = delete;
  TcpMesh& operator=(const TcpMesh&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(connections_.size()); }
  BufferPool& pool() { return pool_; }

  // The connection to another rank.
  TcpConnection& peer(int rank) { return *connections_[rank]; }

 private:
  TcpMesh(int rank, std::vector<UniqueFd> connections, UniqueFd epoll,
          UniqueFd wake);
  void Serve();

  const int rank_;
  BufferPool pool_;
  std::vector<std::unique_ptr<TcpConnection>> connections_;  // by rank
  UniqueFd epoll_;
  UniqueFd wake_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_MESH_H_
