#include "cli/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace caravan::cli {
namespace {

// Where the signal handler writes; -1: nowhere. A lock-free type: a handler may
// touch no other.
volatile sig_atomic_t signal_fd = -1;
volatile sig_atomic_t end_requested = 0;

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

extern "C" void OnInterrupt(int signal) {
  if (signal != SIGINT) end_requested = 1;
  const int saved = errno;
  const char byte = 0;
  if (signal_fd >= 0) {
    const ssize_t ignored = write(signal_fd, &byte, 1);
    static_cast<void>(ignored);  // full: it is readable already
  }
  errno = saved;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Interrupt>> Interrupt::Create() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
    return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  return std::unique_ptr<Interrupt>(new Interrupt(fds[0], fds[1]));
}

Interrupt::Interrupt(int read_fd, int write_fd)
    : read_fd_(read_fd), write_fd_(write_fd) {
  end_requested = 0;
  signal_fd = write_fd_;
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

Interrupt::~Interrupt() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
  signal_fd = -1;
  close(read_fd_);
  close(write_fd_);
}

bool Interrupt::ends_process() const { return end_requested != 0; }

void Interrupt::Clear() {
  char bytes[64];
  while (read(read_fd_, bytes, sizeof(bytes)) > 0) {
  }
}

absl::StatusOr<std::optional<std::string>> LineReader::Read() {
  for (;;) {
    const size_t end = pending_.find('\n');
    if (end != std::string::npos || (at_end_ && !pending_.empty())) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end == std::string::npos ? end : end + 1);
      return line;
    }
    if (at_end_) return std::nullopt;
    pollfd waits[] = {{.fd = fd_, .events = POLLIN},
                      {.fd = interrupt_fd_, .events = POLLIN}};
    // A person may take as long as they like.
    if (poll(waits, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return absl::InternalError(absl::StrCat("poll: ", std::strerror(errno)));
    }
    if (waits[1].revents != 0) return absl::CancelledError("interrupted");
    char bytes[4096];
    const ssize_t count = read(fd_, bytes, sizeof(bytes));
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count <= 0) {
      at_end_ = true;
    } else {
      pending_.append(bytes, static_cast<size_t>(count));
    }
  }
}

}  // namespace caravan::cli
