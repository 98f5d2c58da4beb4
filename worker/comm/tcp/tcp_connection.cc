#include "worker/comm/tcp/tcp_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/comm/communicator.h"

namespace caravan::worker {
namespace {

// Small messages come many to a read; the bodies of large ones are read to
// where they stay.
constexpr size_t kStagingBytes = size_t{64} << 10;

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

template <typename T>
void PutNumber(T value, std::byte* to) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    to[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  }
}

template <typename T>
T GetNumber(const std::byte* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(from[i]) << (8 * i);
  }
  return value;
}

}  // namespace

TcpConnection::TcpConnection(int peer, UniqueFd fd, int epoll, BufferPool& pool)
    : peer_(peer), fd_(std::move(fd)), epoll_(epoll), pool_(pool) {
  if (!fd_.valid()) {
    status_ = absl::UnavailableError("there is no connection");
    return;
  }
  staging_.resize(kStagingBytes);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = static_cast<uint32_t>(peer_);
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_.get(), &event) != 0) {
    status_ = absl::ErrnoToStatus(errno, "cannot watch a connection");
  }
}

void TcpConnection::Encode(const Header& header, std::byte* to) {
  PutNumber<uint64_t>(header.bytes, to);
  PutNumber<uint32_t>(header.stream.group, to + 8);
  PutNumber<uint32_t>(static_cast<uint32_t>(header.stream.channel), to + 12);
}

bool TcpConnection::Decode(const std::byte* from, Header* header) {
  header->bytes = GetNumber<uint64_t>(from);
  header->stream.group = GetNumber<uint32_t>(from + 8);
  const uint32_t channel = GetNumber<uint32_t>(from + 12);
  header->stream.channel = static_cast<Channel>(channel);
  return header->bytes <= kMaxMessageBytes &&
         channel <= static_cast<uint32_t>(Channel::kPointToPoint);
}

// --- Sending ---

absl::Status TcpConnection::Send(TcpStream stream,
                                 absl::Span<const std::byte> data) {
  std::byte header[kHeaderBytes];
  Encode({.bytes = data.size(), .stream = stream}, header);
  iovec parts[] = {{header, kHeaderBytes},
                   {const_cast<std::byte*>(data.data()), data.size()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!status_.ok()) return status_;
  size_t written = 0;
  // Behind what waits already, nothing may overtake.
  if (unsent_.empty()) {
    const ssize_t count = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (count < 0 && !WouldBlock(errno) && errno != EINTR) {
      // The mesh's thread sees the same and tells those who wait.
      return absl::UnavailableError(
          absl::StrCat("the connection broke: ", std::strerror(errno)));
    }
    written = static_cast<size_t>(std::max<ssize_t>(count, 0));
  }
  if (written == kHeaderBytes + data.size()) return absl::OkStatus();
  return Queue(header, data, written);
}

absl::Status TcpConnection::Queue(const std::byte* header,
                                  absl::Span<const std::byte> data,
                                  size_t written) {
  const size_t all = kHeaderBytes + data.size();
  const SharedBuffer rest = pool_.Acquire(static_cast<int64_t>(all - written));
  if (rest == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a message: bytes=", data.size()));
  }
  std::byte* to = rest->data();
  if (written < kHeaderBytes) {
    std::memcpy(to, header + written, kHeaderBytes - written);
    to += kHeaderBytes - written;
  }
  const size_t from = written > kHeaderBytes ? written - kHeaderBytes : 0;
  if (data.size() > from) {
    std::memcpy(to, data.data() + from, data.size() - from);
  }
  if (unsent_.empty()) Watch(/*for_writing=*/true);
  unsent_bytes_ += rest->bytes();
  unsent_.push_back({.bytes = rest});
  return absl::OkStatus();
}

void TcpConnection::Watch(bool for_writing) {
  epoll_event event = {};
  event.events = EPOLLIN | (for_writing ? EPOLLOUT : 0U);
  event.data.u32 = static_cast<uint32_t>(peer_);
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_.get(), &event);
}

void TcpConnection::OnWritable() {
  std::lock_guard<std::mutex> lock(mutex_);
  while (!unsent_.empty()) {
    Unsent& oldest = unsent_.front();
    const ssize_t count = send(
        fd_.get(), oldest.bytes->data() + oldest.sent,
        static_cast<size_t>(oldest.bytes->bytes() - oldest.sent), MSG_NOSIGNAL);
    // Of an error OnReadable tells.
    if (count < 0) return;
    oldest.sent += count;
    unsent_bytes_ -= count;
    if (oldest.sent == oldest.bytes->bytes()) unsent_.pop_front();
  }
  Watch(/*for_writing=*/false);
}

int64_t TcpConnection::unsent_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return status_.ok() ? unsent_bytes_ : 0;
}

// --- Streams ---

void TcpConnection::Open(TcpStream stream, std::shared_ptr<Waiter> waiter) {
  std::lock_guard<std::mutex> lock(mutex_);
  waiters_[stream] = std::move(waiter);
}

void TcpConnection::Close(TcpStream stream) {
  std::lock_guard<std::mutex> lock(mutex_);
  waiters_.erase(stream);
  messages_.erase(stream);
}

SharedBuffer TcpConnection::Take(TcpStream stream) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = messages_.find(stream);
  if (found == messages_.end() || found->second.empty()) return nullptr;
  SharedBuffer message = std::move(found->second.front());
  found->second.pop_front();
  return message;
}

bool TcpConnection::Has(TcpStream stream) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = messages_.find(stream);
  return found != messages_.end() && !found->second.empty();
}

absl::Status TcpConnection::status() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return status_;
}

// --- Receiving ---

void TcpConnection::OnReadable() {
  if (!status().ok()) return;
  while (body_ == nullptr ? ReadFrames() : ReadBody()) {
  }
}

bool TcpConnection::ReadBody() {
  const int64_t left = body_->bytes() - body_read_;
  const ssize_t count =
      read(fd_.get(), body_->data() + body_read_, static_cast<size_t>(left));
  if (count <= 0) return CheckRead(count);
  body_read_ += count;
  if (count == left) Deliver();
  return true;
}

bool TcpConnection::ReadFrames() {
  const ssize_t count = read(fd_.get(), staging_.data(), staging_.size());
  if (count <= 0) return CheckRead(count);
  return Consume(staging_.data(), static_cast<size_t>(count));
}

// Whether to read on after a read that gave nothing.
bool TcpConnection::CheckRead(ssize_t count) {
  if (count == 0) {
    End(absl::UnavailableError("it closed the connection"));
    return false;
  }
  if (errno == EINTR) return true;
  if (!WouldBlock(errno)) {
    End(absl::UnavailableError(
        absl::StrCat("the connection broke: ", std::strerror(errno))));
  }
  return false;
}

bool TcpConnection::Consume(const std::byte* bytes, size_t count) {
  while (count > 0) {
    size_t used = 0;
    if (body_ == nullptr) {
      used = std::min(kHeaderBytes - header_bytes_.size(), count);
      header_bytes_.insert(header_bytes_.end(), bytes, bytes + used);
      if (header_bytes_.size() == kHeaderBytes && !BeginBody()) return false;
    } else {
      used = std::min(static_cast<size_t>(body_->bytes() - body_read_), count);
      std::memcpy(body_->data() + body_read_, bytes, used);
      body_read_ += static_cast<int64_t>(used);
      if (body_read_ == body_->bytes()) Deliver();
    }
    bytes += used;
    count -= used;
  }
  return true;
}

bool TcpConnection::BeginBody() {
  const bool is_sound = Decode(header_bytes_.data(), &header_);
  header_bytes_.clear();
  if (!is_sound) {
    End(absl::InternalError(
        absl::StrCat("it sent what is no message: bytes=", header_.bytes)));
    return false;
  }
  body_ = pool_.Acquire(static_cast<int64_t>(header_.bytes));
  body_read_ = 0;
  if (body_ == nullptr) {
    End(absl::ResourceExhaustedError(
        absl::StrCat("no memory for a message: bytes=", header_.bytes)));
    return false;
  }
  if (body_->bytes() == 0) Deliver();
  return true;
}

void TcpConnection::Deliver() {
  std::shared_ptr<Waiter> waiter;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    messages_[header_.stream].push_back(std::move(body_));
    const auto found = waiters_.find(header_.stream);
    if (found != waiters_.end()) waiter = found->second;
  }
  body_ = nullptr;
  if (waiter != nullptr) waiter->Notify();
}

void TcpConnection::End(const absl::Status& status) {
  std::map<TcpStream, std::shared_ptr<Waiter>> waiters;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    unsent_.clear();
    waiters = waiters_;
  }
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd_.get(), nullptr);
  for (const auto& [stream, waiter] : waiters) waiter->Notify();
}

}  // namespace caravan::worker
