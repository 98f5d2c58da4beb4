#include "worker/comm/tcp/tcp_meeting.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/comm/waiter.h"

namespace caravan::worker {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr absl::Duration kLongestTimeout = absl::Hours(24);

// A read or write that gave nothing: false when it only has to be tried again.
bool IsError(ssize_t count) {
  return count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
}

}  // namespace

TcpMeeting::TcpMeeting(TcpListener listener, const TcpWorldOptions& options)
    : options_(options),
      listener_(std::move(listener)),
      deadline_(SteadyClock::now() +
                absl::ToChronoNanoseconds(
                    std::min(options.join_timeout, kLongestTimeout))),
      seats_(options.endpoints.size()) {}

absl::StatusOr<std::vector<UniqueFd>> TcpMeeting::Hold() {
  CARAVAN_RETURN_IF_ERROR(DialAll());
  while (!Missing().empty()) {
    if (SteadyClock::now() >= deadline_) {
      return absl::DeadlineExceededError(
          absl::StrCat("ranks have not come: rank=", options_.rank, " ",
                       NamePeers(Missing()),
                       " after=", absl::FormatDuration(options_.join_timeout)));
    }
    CARAVAN_RETURN_IF_ERROR(Poll());
  }
  return std::move(seats_);
}

std::vector<int> TcpMeeting::Missing() const {
  std::vector<int> missing;
  for (int rank = 0; rank < static_cast<int>(seats_.size()); ++rank) {
    if (rank != options_.rank && !seats_[rank].valid()) missing.push_back(rank);
  }
  return missing;
}

absl::StatusOr<TcpHandshake::Self> TcpMeeting::MakeSelf() const {
  CARAVAN_ASSIGN_OR_RETURN(std::string nonce, DrawNonce());
  return TcpHandshake::Self{.rank = options_.rank,
                            .num_ranks = static_cast<int>(seats_.size()),
                            .secret = options_.secret,
                            .nonce = std::move(nonce)};
}

absl::Status TcpMeeting::DialAll() {
  for (int peer = 0; peer < options_.rank; ++peer) {
    CARAVAN_ASSIGN_OR_RETURN(TcpHandshake::Self self, MakeSelf());
    absl::StatusOr<UniqueFd> fd = DialTcp(options_.endpoints[peer]);
    if (!fd.ok()) return Annotate(fd.status(), absl::StrCat("rank ", peer));
    CARAVAN_RETURN_IF_ERROR(TuneTcp(fd->get()));
    guests_.push_back({.fd = *std::move(fd),
                       .handshake = TcpHandshake::Dial(std::move(self), peer),
                       .is_dialed = true});
  }
  return absl::OkStatus();
}

absl::Status TcpMeeting::Poll() {
  std::vector<pollfd> polled = {{listener_.fd(), POLLIN, 0}};
  for (const Guest& guest : guests_) {
    const bool writes = !guest.is_connected || !guest.unsent.empty();
    polled.push_back(
        {guest.fd.get(), static_cast<short>(writes ? POLLOUT : POLLIN), 0});
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline_ - SteadyClock::now());
  const int patience =
      static_cast<int>(std::clamp<int64_t>(left.count() + 1, 0, 1000));
  if (poll(polled.data(), polled.size(), patience) < 0 && errno != EINTR) {
    return absl::ErrnoToStatus(errno, "cannot wait for ranks");
  }
  for (size_t i = 0; i < guests_.size(); ++i) {
    if (polled[i + 1].revents == 0) continue;
    Guest& guest = guests_[i];
    const absl::Status status = Annotated(guest, Advance(guest));
    if (status.ok()) continue;
    guest.fd.Reset();
    if (guest.is_dialed) return status;
    LogWarning(absl::StrCat("turned away who dialed: ", status.ToString()));
  }
  guests_.erase(
      std::remove_if(guests_.begin(), guests_.end(),
                     [](const Guest& guest) { return !guest.fd.valid(); }),
      guests_.end());
  if ((polled[0].revents & POLLIN) != 0) return Accept();
  return absl::OkStatus();
}

absl::Status TcpMeeting::Accept() {
  UniqueFd fd(
      accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // It may have gone again already.
  if (!fd.valid() || !TuneTcp(fd.get()).ok()) return absl::OkStatus();
  CARAVAN_ASSIGN_OR_RETURN(TcpHandshake::Self self, MakeSelf());
  guests_.push_back({.fd = std::move(fd),
                     .handshake = TcpHandshake::Accept(std::move(self)),
                     .is_connected = true});
  return absl::OkStatus();
}

absl::Status TcpMeeting::Annotated(const Guest& guest,
                                   const absl::Status& status) const {
  if (status.ok() || !guest.is_dialed) return status;
  const int peer = guest.handshake.peer();
  return Annotate(
      status, absl::StrCat("rank ", peer, " at ", options_.endpoints[peer]));
}

absl::Status TcpMeeting::Advance(Guest& guest) {
  if (!guest.is_connected) {
    CARAVAN_RETURN_IF_ERROR(FinishConnecting(guest));
  } else if (guest.unsent.empty()) {
    CARAVAN_RETURN_IF_ERROR(ReceiveSome(guest));
  }
  guest.unsent += guest.handshake.TakeOutput();
  CARAVAN_RETURN_IF_ERROR(SendUnsent(guest));
  if (!guest.handshake.done() || !guest.unsent.empty()) return absl::OkStatus();
  return Seat(guest);
}

absl::Status TcpMeeting::FinishConnecting(Guest& guest) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(guest.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
    error = errno;
  }
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot be reached: ", std::strerror(error)));
  }
  guest.is_connected = true;
  return absl::OkStatus();
}

absl::Status TcpMeeting::SendUnsent(Guest& guest) {
  if (guest.unsent.empty()) return absl::OkStatus();
  const ssize_t count = send(guest.fd.get(), guest.unsent.data(),
                             guest.unsent.size(), MSG_NOSIGNAL);
  if (IsError(count)) {
    return absl::UnavailableError(
        absl::StrCat("the connection broke: ", std::strerror(errno)));
  }
  if (count > 0) guest.unsent.erase(0, static_cast<size_t>(count));
  return absl::OkStatus();
}

// Never more than the handshake wants: what follows it is not ours to read.
absl::Status TcpMeeting::ReceiveSome(Guest& guest) {
  std::string bytes(guest.handshake.wanted(), '\0');
  const ssize_t count = read(guest.fd.get(), bytes.data(), bytes.size());
  if (count == 0) {
    return absl::UnavailableError("closed the connection while meeting");
  }
  if (IsError(count)) {
    return absl::UnavailableError(
        absl::StrCat("the connection broke: ", std::strerror(errno)));
  }
  if (count < 0) return absl::OkStatus();
  return guest.handshake.Receive(
      absl::string_view(bytes).substr(0, static_cast<size_t>(count)));
}

absl::Status TcpMeeting::Seat(Guest& guest) {
  UniqueFd& seat = seats_[guest.handshake.peer()];
  if (seat.valid()) {
    return absl::AlreadyExistsError(
        absl::StrCat("rank ", guest.handshake.peer(), " is here already"));
  }
  seat = std::move(guest.fd);
  return absl::OkStatus();
}

}  // namespace caravan::worker
