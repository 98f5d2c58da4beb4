#include "worker/agent/process_table.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/agent/exit_reason.h"
#include "worker/agent/mpi_command.h"
#include "worker/agent/pidfd.h"

namespace caravan::worker {
namespace {

// What an epoll event is about: the entry's id and which descriptor of it.
constexpr uint64_t kOutputBit = uint64_t{1} << 63;
constexpr uint64_t kWakeId = 0;

absl::Status AddToEpoll(int epoll, int fd, uint64_t data) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = data;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "cannot watch a descriptor");
}

// Writes a child's line into this log, at its level if it comes from a log of
// ours.
void Relay(absl::string_view child, absl::string_view line) {
  if (const auto entry = ParseLogLine(WithoutMpirunTag(line))) {
    Log(entry->level, entry->text);
  } else {
    LogInfo(absl::StrCat(child, ": ", line));
  }
}

}  // namespace

std::string ProcessLabel::DebugString() const {
  std::string text = absl::StrCat(role, " ", epoch.DebugString());
  if (rank >= 0) absl::StrAppend(&text, " rank ", rank);
  return text;
}

ProcessTable::ProcessTable(ExitCallback on_exit)
    : on_exit_(std::move(on_exit)) {}

absl::StatusOr<std::unique_ptr<ProcessTable>> ProcessTable::Create(
    ExitCallback on_exit) {
  std::unique_ptr<ProcessTable> table(new ProcessTable(std::move(on_exit)));
  table->epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  table->wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!table->epoll_.valid() || !table->wake_.valid()) {
    return absl::ErrnoToStatus(errno, "cannot make an epoll or event fd");
  }
  CARAVAN_RETURN_IF_ERROR(
      AddToEpoll(table->epoll_.get(), table->wake_.get(), kWakeId));
  try {
    table->thread_ = std::thread([raw = table.get()] { raw->WatchLoop(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot start a thread: ", error.what()));
  }
  return table;
}

ProcessTable::~ProcessTable() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

absl::StatusOr<pid_t> ProcessTable::Start(const ProcessLabel& label,
                                          const SpawnOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(SpawnedProcess process, Spawn(options));
  const pid_t pid = process.pid;
  LogInfo(absl::StrCat("started ", label.DebugString(), ", pid ", pid));
  CARAVAN_RETURN_IF_ERROR(Add({
      .label = label,
      .pid = pid,
      .pidfd = std::move(process.pidfd),
      .output = std::move(process.output),
      .words = std::make_unique<LastWords>(
          [name = label.DebugString()](absl::string_view line) {
            Relay(name, line);
          }),
  }));
  return pid;
}

absl::Status ProcessTable::Watch(const ProcessLabel& label, pid_t pid) {
  UniqueFd pidfd = OpenPidfd(pid);
  if (!pidfd.valid()) {
    if (errno == ESRCH) {
      return absl::NotFoundError(absl::StrCat("no process ", pid));
    }
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot watch pid ", pid));
  }
  return Add({.label = label, .pid = pid, .pidfd = std::move(pidfd)});
}

absl::Status ProcessTable::Add(Entry entry) {
  absl::MutexLock lock(&mutex_);
  const uint64_t id = next_id_++;
  const int pidfd = entry.pidfd.get();
  const int output = entry.output.get();
  entries_.emplace(id, std::move(entry));
  // Events wait for the mutex, so that they find the entry.
  if (output >= 0) {
    CARAVAN_RETURN_IF_ERROR(AddToEpoll(epoll_.get(), output, id | kOutputBit));
  }
  return AddToEpoll(epoll_.get(), pidfd, id);
}

bool ProcessTable::Knows(pid_t pid) const {
  absl::MutexLock lock(&mutex_);
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const auto& item) { return item.second.pid == pid; });
}

void ProcessTable::ReapOrphans() {
  while (true) {
    siginfo_t info = {};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
      return;
    }
    // The watching thread will take this one, with its reason.
    if (Knows(info.si_pid)) return;
    waitpid(info.si_pid, nullptr, WNOHANG);
  }
}

void ProcessTable::WatchLoop() {
  while (true) {
    epoll_event events[32];
    const int count = epoll_wait(epoll_.get(), events, 32, /*timeout=*/-1);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      LogError(absl::StrCat("epoll_wait failed: errno ", errno));
      return;
    }
    for (int i = 0; i < count; ++i) {
      const uint64_t data = events[i].data.u64;
      if (data == kWakeId) return;
      if ((data & kOutputBit) != 0) {
        absl::MutexLock lock(&mutex_);
        ReadOutput(data & ~kOutputBit);
      } else {
        HandleExit(data);
      }
    }
  }
}

void ProcessTable::ReadOutput(uint64_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || !found->second.output.valid()) return;
  Entry& entry = found->second;
  char buffer[4096];
  // Bounded, so that one chatty process cannot keep the others waiting.
  for (int i = 0; i < 64; ++i) {
    const ssize_t count = read(entry.output.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      entry.output.Reset();
      return;
    }
    entry.words->Append(absl::string_view(buffer, count));
  }
}

void ProcessTable::HandleExit(uint64_t id) {
  ProcessExit exit;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return;
    ReadOutput(id);
    Entry& entry = found->second;
    exit.label = std::move(entry.label);
    exit.pid = entry.pid;
    exit.reason = TakeExitReason(entry.pidfd.get(), entry.pid);
    if (entry.words != nullptr) {
      entry.words->Finish();
      exit.last_words = entry.words->Text();
    }
    entries_.erase(found);
  }
  on_exit_(std::move(exit));
}

}  // namespace caravan::worker
