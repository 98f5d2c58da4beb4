// Words for how a process ended.
#ifndef CARAVAN_WORKER_AGENT_EXIT_REASON_H_
#define CARAVAN_WORKER_AGENT_EXIT_REASON_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace caravan::worker {

// Of a status as waitpid gives it: "exited with code 1", "killed by signal 9
// (Killed)".
std::string DescribeWaitStatus(int status);

// The wait status of a zombie, from the text of /proc/<pid>/stat; nullopt when
// the process is not a zombie or the text is not understood.
std::optional<int> ZombieStatus(absl::string_view stat);

// How the process behind `pidfd` ended, which it has: reaps it if it is a
// child; else looks at the zombie, if its parent has not reaped it yet.
std::string TakeExitReason(int pidfd, pid_t pid);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_EXIT_REASON_H_
