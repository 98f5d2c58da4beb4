#include "worker/comm/tcp/tcp_mesh.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace caravan::worker {
namespace {

constexpr uint32_t kWakeEvent = ~uint32_t{0};
constexpr auto kFarewell = std::chrono::seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<TcpMesh>> TcpMesh::Start(
    int rank, std::vector<UniqueFd> connections) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = kWakeEvent;
  if (!epoll.valid() || !wake.valid() ||
      epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return absl::ErrnoToStatus(errno, "cannot watch connections");
  }
  return std::unique_ptr<TcpMesh>(new TcpMesh(
      rank, std::move(connections), std::move(epoll), std::move(wake)));
}

TcpMesh::TcpMesh(int rank, std::vector<UniqueFd> connections, UniqueFd epoll,
                 UniqueFd wake)
    : rank_(rank), epoll_(std::move(epoll)), wake_(std::move(wake)) {
  for (size_t peer = 0; peer < connections.size(); ++peer) {
    connections_.push_back(std::make_unique<TcpConnection>(
        static_cast<int>(peer), std::move(connections[peer]), epoll_.get(),
        pool_));
  }
  thread_ = std::thread([this] { Serve(); });
}

TcpMesh::~TcpMesh() {
  stopping_.store(true);
  const uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  const ssize_t written = write(wake_.get(), &one, sizeof(one));
  static_cast<void>(written);
  thread_.join();
}

void TcpMesh::Serve() {
  pthread_setname_np(pthread_self(), "tcp");
  using SteadyClock = std::chrono::steady_clock;
  SteadyClock::time_point end = SteadyClock::time_point::max();
  while (true) {
    if (stopping_.load()) {
      end = std::min(end, SteadyClock::now() + kFarewell);
      const bool all_sent = std::all_of(
          connections_.begin(), connections_.end(), [](const auto& connection) {
            return connection->unsent_bytes() == 0;
          });
      if (all_sent || SteadyClock::now() >= end) return;
    }
    epoll_event events[16];
    const int count =
        epoll_wait(epoll_.get(), events, 16, stopping_.load() ? 10 : -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u32 == kWakeEvent) {
        uint64_t count_of_wakes = 0;
        const ssize_t taken =
            read(wake_.get(), &count_of_wakes, sizeof(count_of_wakes));
        static_cast<void>(taken);
        continue;
      }
      TcpConnection& connection = *connections_[events[i].data.u32];
      if ((events[i].events & EPOLLOUT) != 0) connection.OnWritable();
      // Errors and ends show when reading.
      if ((events[i].events & ~uint32_t{EPOLLOUT}) != 0) {
        connection.OnReadable();
      }
    }
  }
}

}  // namespace caravan::worker
