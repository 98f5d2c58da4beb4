// The worlds of several ranks in one process, joined over loopback.
#ifndef CARAVAN_TESTS_WORKER_COMM_TCP_TCP_TEST_WORLDS_H_
#define CARAVAN_TESTS_WORKER_COMM_TCP_TCP_TEST_WORLDS_H_

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/comm/tcp/tcp_listener.h"
#include "worker/comm/tcp/tcp_world.h"

namespace caravan::worker {

// What each rank's JoinTcpWorld returned.
inline std::vector<absl::StatusOr<std::unique_ptr<TcpWorld>>> JoinTcpWorlds(
    int size, absl::Duration timeout = absl::Seconds(60)) {
  std::vector<TcpListener> listeners;
  TcpWorldOptions options{.secret = "secret", .join_timeout = timeout};
  for (int rank = 0; rank < size; ++rank) {
    absl::StatusOr<TcpListener> listener = TcpListener::Open("127.0.0.1");
    if (!listener.ok()) return {};
    options.endpoints.push_back(listener->endpoint());
    listeners.push_back(*std::move(listener));
  }
  std::vector<absl::StatusOr<std::unique_ptr<TcpWorld>>> worlds(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank, options]() mutable {
      options.rank = rank;
      worlds[rank] = JoinTcpWorld(std::move(listeners[rank]), options);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return worlds;
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_COMM_TCP_TCP_TEST_WORLDS_H_
