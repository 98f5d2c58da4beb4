// Descriptors of processes. The header of Debian 12's C library declares these
// calls without C linkage, so they are made here.
#ifndef CARAVAN_WORKER_AGENT_PIDFD_H_
#define CARAVAN_WORKER_AGENT_PIDFD_H_

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace caravan::worker {

// Not valid when errno says why.
inline UniqueFd OpenPidfd(pid_t pid) {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

// False when errno says why.
inline bool SignalPidfd(const UniqueFd& pidfd, int signal) {
  return syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_PIDFD_H_
