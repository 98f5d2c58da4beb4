#include "coordinator/api/client_stream.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>

namespace caravan::coordinator {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr auto kResult = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReadBytes = 16 * 1024;
// How long and how much of what a client still sends is taken and thrown away.
constexpr absl::Duration kLingerDeadline = absl::Seconds(2);
constexpr int64_t kLingerBytes = 64 * 1024 * 1024;

}  // namespace

ClientStream::ClientStream(asio::ip::tcp::socket socket,
                           int64_t max_buffer_bytes,
                           absl::Duration write_deadline)
    : socket_(std::move(socket)),
      buffer_(static_cast<size_t>(max_buffer_bytes)),
      max_buffer_bytes_(max_buffer_bytes),
      write_deadline_(write_deadline),
      deadline_timer_(socket_.get_executor()),
      wake_timer_(socket_.get_executor()) {}

ClientStream::Deadline::Deadline(ClientStream* stream, absl::Duration duration)
    : stream_(stream) {
  ++stream_->deadline_number_;
  stream_->deadline_passed_ = false;
  stream_->ArmDeadline(duration);
}

ClientStream::Deadline::~Deadline() {
  ++stream_->deadline_number_;
  stream_->deadline_timer_.cancel();
}

bool ClientStream::Deadline::passed() const {
  return stream_->deadline_passed_;
}

void ClientStream::ArmDeadline(absl::Duration duration) {
  deadline_timer_.expires_after(absl::ToChronoNanoseconds(duration));
  deadline_timer_.async_wait(
      [self = shared_from_this(), number = deadline_number_](error_code) {
        if (number != self->deadline_number_) return;
        self->deadline_passed_ = true;
        error_code ignored;
        self->socket_.cancel(ignored);
        // A composed operation may just be between two reads, where there is
        // nothing to cancel: again, until its owner has seen it.
        self->ArmDeadline(absl::Milliseconds(20));
      });
}

asio::awaitable<bool> ClientStream::WaitForData(absl::Duration duration) {
  if (buffer_.size() > 0) co_return true;
  const Deadline deadline(this, duration);
  const auto space = buffer_.prepare(
      std::min(kReadBytes, static_cast<size_t>(max_buffer_bytes_)));
  is_idle_ = true;
  const auto [error, num_bytes] =
      co_await socket_.async_read_some(space, kResult);
  is_idle_ = false;
  buffer_.commit(num_bytes);
  co_return !error && !is_gone_;
}

asio::awaitable<bool> ClientStream::Write(std::string bytes) {
  if (is_gone_) co_return false;
  error_code error;
  {
    const Deadline deadline(this, write_deadline_);
    const auto [result, num_bytes] =
        co_await asio::async_write(socket_, asio::buffer(bytes), kResult);
    error = result;
  }
  if (error) Close();
  co_return !error;
}

void ClientStream::StartWatching() {
  is_watching_ = true;
  stop_watching_ = false;
  WatchOnce();
}

void ClientStream::WatchOnce() {
  const size_t room = static_cast<size_t>(max_buffer_bytes_) - buffer_.size();
  if (stop_watching_ || is_gone_ || room == 0) {
    // A client that has sent that much ahead is not watched any more; writing
    // to it tells as well, only later.
    is_watching_ = false;
    wake_timer_.cancel();
    return;
  }
  socket_.async_read_some(
      buffer_.prepare(std::min(room, kReadBytes)),
      [self = shared_from_this()](error_code error, size_t num_bytes) {
        self->buffer_.commit(num_bytes);
        if (error && !self->stop_watching_) self->Close();
        self->WatchOnce();
      });
}

asio::awaitable<void> ClientStream::StopWatching() {
  stop_watching_ = true;
  if (!is_watching_) co_return;
  error_code ignored;
  socket_.cancel(ignored);
  while (is_watching_) {
    wake_timer_.expires_at(asio::steady_timer::time_point::max());
    co_await wake_timer_.async_wait(kResult);
  }
}

asio::awaitable<void> ClientStream::WaitForWake(absl::Duration longest) {
  const auto until = longest == absl::InfiniteDuration()
                         ? asio::steady_timer::time_point::max()
                         : asio::steady_timer::clock_type::now() +
                               absl::ToChronoNanoseconds(longest);
  bool is_over = false;
  while (!is_woken_ && !is_gone_ && !is_over) {
    wake_timer_.expires_at(until);
    const auto [error] = co_await wake_timer_.async_wait(kResult);
    is_over = !error;  // else it was cancelled
  }
  is_woken_ = false;
}

void ClientStream::Wake() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->is_woken_ = true;
    self->wake_timer_.cancel();
  });
}

void ClientStream::Close() {
  is_gone_ = true;
  wake_timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
}

bool ClientStream::has_unread() const {
  error_code error;
  return buffer_.size() > 0 || socket_.available(error) > 0 || error;
}

void ClientStream::CloseIfIdle() {
  if (is_idle_) Close();
}

asio::awaitable<void> ClientStream::CloseGracefully() {
  error_code error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (!error) {
    const Deadline deadline(this, kLingerDeadline);
    buffer_.clear();
    for (int64_t taken = 0; taken < kLingerBytes && !deadline.passed();) {
      const auto space = buffer_.prepare(
          std::min(kReadBytes, static_cast<size_t>(max_buffer_bytes_)));
      const auto [result, num_bytes] =
          co_await socket_.async_read_some(space, kResult);
      if (result) break;
      taken += static_cast<int64_t>(num_bytes);
    }
  }
  Close();
}

}  // namespace caravan::coordinator
