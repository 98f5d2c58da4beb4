#include "worker/agent/exit_reason.h"

#include <string.h>
#include <sys/wait.h>

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {
namespace {

// The wait status that waitpid would have made of this.
int ToWaitStatus(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return (info.si_status & 0xff) << 8;
  return (info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
}

}  // namespace

std::string DescribeWaitStatus(int status) {
  if (WIFEXITED(status)) {
    return absl::StrCat("exited with code ", WEXITSTATUS(status));
  }
  if (!WIFSIGNALED(status)) {
    return absl::StrCat("ended with wait status ", status);
  }
  const int number = WTERMSIG(status);
  const char* name = sigdescr_np(number);
  return absl::StrCat("killed by signal ", number, " (",
                      name == nullptr ? "unknown" : name, ")",
                      WCOREDUMP(status) ? ", core dumped" : "");
}

std::optional<int> ZombieStatus(absl::string_view stat) {
  // "pid (name) state ...": the name may hold anything, so look from the end.
  const size_t name_end = stat.rfind(')');
  if (name_end == absl::string_view::npos) return std::nullopt;
  const std::vector<absl::string_view> fields = absl::StrSplit(
      stat.substr(name_end + 1), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  // Field 3 is the state, field 52 the exit code (proc(5)).
  constexpr size_t kExitCode = 52 - 3;
  int status = 0;
  if (fields.size() <= kExitCode || fields[0] != "Z" ||
      !absl::SimpleAtoi(fields[kExitCode], &status)) {
    return std::nullopt;
  }
  return status;
}

std::string TakeExitReason(int pidfd, pid_t pid) {
  siginfo_t info = {};
  if (waitid(P_PIDFD, pidfd, &info, WEXITED | WNOHANG) == 0 &&
      info.si_pid == pid) {
    return DescribeWaitStatus(ToWaitStatus(info));
  }
  const absl::StatusOr<std::string> stat =
      ReadSmallFile(absl::StrCat("/proc/", pid, "/stat"), 4096);
  if (stat.ok()) {
    if (const std::optional<int> status = ZombieStatus(*stat)) {
      return DescribeWaitStatus(*status);
    }
  }
  return "ended; its parent took the reason";
}

}  // namespace caravan::worker
