// One rank's end of a connection to one other rank.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_CONNECTION_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_CONNECTION_H_

#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "worker/comm/buffer_pool.h"
#include "worker/comm/transport.h"
#include "worker/comm/waiter.h"

namespace caravan::worker {

// Messages between two ranks that belong together; each stream is in order.
struct TcpStream {
  uint32_t group = 0;  // which of the groups that both ranks are in
  Channel channel = Channel::kCollective;

  auto operator<=>(const TcpStream&) const = default;
};

// A frame is the number of its bytes (8 bytes, little-endian), group and
// channel (4 each), and the bytes.
//
// Any thread sends, looks and takes; one thread, the mesh's, calls OnReadable
// and OnWritable. What ended the connection is kept and told to all who wait.
class TcpConnection final {
 public:
  // `fd` is connected, does not block and is registered with `epoll` here, by
  // the number `peer`; `pool` outlives this. An `fd` that is not valid makes a
  // connection that has ended.
  TcpConnection(int peer, UniqueFd fd, int epoll, BufferPool& pool);

  // See TcpMesh.
  absl::Status Send(TcpStream stream, absl::Span<const std::byte> data);
  void Open(TcpStream stream, std::shared_ptr<Waiter> waiter);
  void Close(TcpStream stream);
  SharedBuffer Take(TcpStream stream);
  bool Has(TcpStream stream) const;
  absl::Status status() const;
  int64_t unsent_bytes() const;

  void OnReadable();
  void OnWritable();

 private:
  static constexpr size_t kHeaderBytes = 16;
  struct Header {
    uint64_t bytes = 0;
    TcpStream stream;
  };
  struct Unsent {
    SharedBuffer bytes;
    int64_t sent = 0;
  };

  static void Encode(const Header& header, std::byte* to);
  // False: not one that a rank would send.
  static bool Decode(const std::byte* from, Header* header);

  // Keeps what is left of the frame; `written` of its bytes have left.
  absl::Status Queue(const std::byte* header, absl::Span<const std::byte> data,
                     size_t written);
  void Watch(bool for_writing);
  void End(const absl::Status& status);

  // Of the mesh's thread. All return false when the connection has ended.
  bool ReadBody();
  bool ReadFrames();
  bool CheckRead(ssize_t count);
  bool Consume(const std::byte* bytes, size_t count);
  bool BeginBody();
  void Deliver();

  const int peer_;
  const UniqueFd fd_;
  const int epoll_;
  BufferPool& pool_;

  mutable std::mutex mutex_;
  absl::Status status_;
  std::deque<Unsent> unsent_;
  int64_t unsent_bytes_ = 0;
  std::map<TcpStream, std::deque<SharedBuffer>> messages_;
  std::map<TcpStream, std::shared_ptr<Waiter>> waiters_;

  // The frame that is being read, by the mesh's thread only.
  std::vector<std::byte> staging_;
  std::vector<std::byte> header_bytes_;
  Header header_;
  SharedBuffer body_;  // null: the header is not whole yet
  int64_t body_read_ = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_CONNECTION_H_
