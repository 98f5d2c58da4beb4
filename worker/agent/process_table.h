// The processes that this agent answers for: children that it starts, and
// engines below mpirun or orted that it only watches.
#ifndef CARAVAN_WORKER_AGENT_PROCESS_TABLE_H_
#define CARAVAN_WORKER_AGENT_PROCESS_TABLE_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"
#include "worker/agent/epoch_key.h"
#include "worker/agent/last_words.h"
#include "worker/agent/spawner.h"

namespace caravan::worker {

struct ProcessLabel {
  EpochKey epoch;
  std::string role;  // "mpirun", "daemon" or "engine"
  int rank = -1;     // of an engine; -1 when unknown

  // "engine r0 e3 rank 2", as in log lines.
  std::string DebugString() const;
};

struct ProcessExit {
  ProcessLabel label;
  pid_t pid = 0;
  std::string reason;  // "killed by signal 9 (Killed)"
  std::string last_words;
};

// A thread of its own reads what the children write and calls `on_exit` once
// per process, at once when it ends. Thread-safe; the destructor stops
// watching, it kills nobody.
class ProcessTable final {
 public:
  using ExitCallback = std::function<void(ProcessExit)>;

  static absl::StatusOr<std::unique_ptr<ProcessTable>> Create(
      ExitCallback on_exit);
  ~ProcessTable();
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;

  // Starts a child (see Spawn() on the calling thread).
  absl::StatusOr<pid_t> Start(const ProcessLabel& label,
                              const SpawnOptions& options);

  // Watches a process that is not a child. kNotFound when it is gone already.
  absl::Status Watch(const ProcessLabel& label, pid_t pid);

  bool Knows(pid_t pid) const;

  // Collects orphans that came to this process as the reaper of its
  // descendants.
  void ReapOrphans();

 private:
  struct Entry {
    ProcessLabel label;
    pid_t pid = 0;
    UniqueFd pidfd;
    UniqueFd output;
    std::unique_ptr<LastWords> words;
  };

  explicit ProcessTable(ExitCallback on_exit);

  absl::Status Add(Entry entry);
  void WatchLoop();
  void ReadOutput(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleExit(uint64_t id);

  const ExitCallback on_exit_;
  UniqueFd epoll_;
  UniqueFd wake_;
  mutable absl::Mutex mutex_;
  std::map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::thread thread_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_PROCESS_TABLE_H_
