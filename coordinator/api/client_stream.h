// The bytes to and from one client, with deadlines.
#ifndef CARAVAN_COORDINATOR_API_CLIENT_STREAM_H_
#define CARAVAN_COORDINATOR_API_CLIENT_STREAM_H_

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"

namespace caravan::coordinator {

// Everything but Wake runs on the socket's executor, a strand. Shared with the
// handlers under way.
class ClientStream final : public std::enable_shared_from_this<ClientStream> {
 public:
  ClientStream(boost::asio::ip::tcp::socket socket, int64_t max_buffer_bytes,
               absl::Duration write_deadline);

  boost::asio::ip::tcp::socket& socket() { return socket_; }
  // What was read and not yet used.
  boost::beast::flat_buffer& buffer() { return buffer_; }

  // While one of these lives, operations that are under way when the time is
  // up end with operation_aborted. One at a time.
  class Deadline final {
   public:
    Deadline(ClientStream* stream, absl::Duration duration);
    ~Deadline();
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    bool passed() const;

   private:
    ClientStream* const stream_;
  };

  // Waits for at least one byte. False: none came in time, or the client left.
  boost::asio::awaitable<bool> WaitForData(absl::Duration duration);

  // Returns whether the client took all of it in time; if not, it is gone.
  boost::asio::awaitable<bool> Write(std::string bytes);

  // While the server works on an answer: notices at once that the client left,
  // and keeps what it sends meanwhile. A client that closes its sending side
  // counts as gone.
  void StartWatching();
  boost::asio::awaitable<void> StopWatching();
  bool is_gone() const { return is_gone_; }

  // Waits until Wake() is or was called, the client left, or the time is up.
  boost::asio::awaitable<void> WaitForWake(absl::Duration longest);
  // From any thread.
  void Wake();

  // Whether there is more from the client than was used.
  bool has_unread() const;

  // Ends whatever is under way; the client is gone.
  void Close();
  // Closes when it is only waiting for the client's next request.
  void CloseIfIdle();
  // Tells the client that nothing more comes and takes what it is still
  // sending, for a while, so that it can read the answer before its connection
  // breaks.
  boost::asio::awaitable<void> CloseGracefully();

 private:
  void ArmDeadline(absl::Duration duration);
  void WatchOnce();

  boost::asio::ip::tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
  const int64_t max_buffer_bytes_;
  const absl::Duration write_deadline_;
  boost::asio::steady_timer deadline_timer_;
  uint64_t deadline_number_ = 0;  // of the one that is running
  bool deadline_passed_ = false;
  boost::asio::steady_timer wake_timer_;
  bool is_woken_ = false;
  bool is_watching_ = false;
  bool stop_watching_ = false;
  bool is_gone_ = false;
  bool is_idle_ = false;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_CLIENT_STREAM_H_
