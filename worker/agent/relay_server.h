// The agent's side of the relay: a socket to which the program that mpirun
// takes for ssh connects, says what it was asked to run, and waits.
#ifndef CARAVAN_WORKER_AGENT_RELAY_SERVER_H_
#define CARAVAN_WORKER_AGENT_RELAY_SERVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "worker/agent/daemon_arguments.h"
#include "worker/agent/epoch_key.h"

namespace caravan::worker {

struct RelayCall {
  uint64_t request = 0;
  EpochKey epoch;
  DaemonRequest daemon;
};

// Serves only processes of this user that carry a mark of `incarnation`: the
// mark says for which epoch they speak. A thread of its own calls `on_call`;
// Answer() is thread-safe.
class RelayServer final {
 public:
  // A relay that gets no answer for so long is told so.
  static constexpr absl::Duration kTimeout = absl::Seconds(20);

  struct Options {
    std::string socket_path;
    std::string incarnation;
    std::function<void(RelayCall)> on_call;
  };

  static absl::StatusOr<std::unique_ptr<RelayServer>> Start(Options options);
  ~RelayServer();
  RelayServer(const RelayServer&) = delete;
  RelayServer& operator=(const RelayServer&) = delete;

  // Lets the relay end with `status`; nothing happens when it has gone.
  void Answer(uint64_t request, const absl::Status& status);

 private:
  struct Connection {
    UniqueFd fd;
    absl::Time deadline;
    bool asked = false;
  };

  explicit RelayServer(Options options) : options_(std::move(options)) {}

  void Serve();
  void Accept();
  // Reads the one message of a connection. False: the connection is over.
  bool Read(uint64_t id);
  void DropLate();

  const Options options_;
  UniqueFd listener_;
  UniqueFd wake_;
  absl::Mutex mutex_;
  std::map<uint64_t, Connection> connections_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::thread thread_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_RELAY_SERVER_H_
