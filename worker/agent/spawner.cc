#include "worker/agent/spawner.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "worker/agent/pidfd.h"

namespace caravan::worker {
namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a pipe");
  }
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

struct ChildPlan {
  const char* program;
  char* const* arguments;
  char* const* environment;
  int input;
  int output;
  int status;
  pid_t parent;
};

// Runs in the child, where other threads' locks may be held for ever: only
// async-signal-safe calls here.
[[noreturn]] void BecomeProgram(const ChildPlan& plan) {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) {
    sigaction(number, &action, nullptr);  // some may not be set: no matter
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const bool orphaned = getppid() != plan.parent;
  if (!orphaned && dup2(plan.input, STDIN_FILENO) >= 0 &&
      dup2(plan.output, STDOUT_FILENO) >= 0 &&
      dup2(plan.output, STDERR_FILENO) >= 0) {
    // `plan.status` must stay open until exec closes it.
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    execve(plan.program, plan.arguments, plan.environment);
  }
  const int error = orphaned ? ESRCH : errno;
  const ssize_t written = write(plan.status, &error, sizeof(error));
  _exit(written == sizeof(error) ? 127 : 126);
}

// 0 when the program runs, else errno of what went wrong in the child.
int ReadChildError(int status_fd) {
  int error = 0;
  while (true) {
    const ssize_t count = read(status_fd, &error, sizeof(error));
    if (count == 0) return 0;
    if (count == sizeof(error)) return error;
    if (count < 0 && errno == EINTR) continue;
    return EIO;
  }
}

std::string PathOf(const std::vector<std::string>& environment) {
  for (absl::string_view variable : environment) {
    if (absl::ConsumePrefix(&variable, "PATH=")) return std::string(variable);
  }
  return "/usr/local/bin:/usr/bin:/bin";
}

}  // namespace

absl::StatusOr<std::string> FindProgram(const std::string& program,
                                        const std::string& path) {
  if (program.empty() || program.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("the program's name is empty or broken");
  }
  if (program.find('/') != std::string::npos) {
    if (access(program.c_str(), X_OK) == 0) return program;
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot run ", program));
  }
  for (absl::string_view folder : absl::StrSplit(path, ':')) {
    if (folder.empty()) continue;
    std::string candidate = absl::StrCat(folder, "/", program);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return absl::NotFoundError(
      absl::StrCat("no program '", program, "' in PATH=", path));
}

absl::StatusOr<SpawnedProcess> Spawn(const SpawnOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(
      const std::string program,
      FindProgram(options.program, PathOf(options.environment)));
  // The bare name: Open MPI's mpirun takes an absolute argv[0] for a --prefix.
  std::vector<std::string> arguments = {options.program};
  arguments.insert(arguments.end(), options.arguments.begin(),
                   options.arguments.end());
  std::vector<std::string> environment = options.environment;
  const std::vector<char*> argument_pointers = Pointers(arguments);
  const std::vector<char*> environment_pointers = Pointers(environment);

  const UniqueFd input(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!input.valid())
    return absl::ErrnoToStatus(errno, "cannot open /dev/null");
  CARAVAN_ASSIGN_OR_RETURN(Pipe output, MakePipe());
  CARAVAN_ASSIGN_OR_RETURN(Pipe status, MakePipe());
  if (fcntl(output.read_end.get(), F_SETFL, O_NONBLOCK) != 0) {
    return absl::ErrnoToStatus(errno, "cannot set O_NONBLOCK");
  }
  const ChildPlan plan = {
      .program = program.c_str(),
      .arguments = argument_pointers.data(),
      .environment = environment_pointers.data(),
      .input = input.get(),
      .output = output.write_end.get(),
      .status = status.write_end.get(),
      .parent = getpid(),
  };
  // Unlike fork(), runs no handlers that libraries have registered.
  const pid_t pid = _Fork();
  if (pid == 0) BecomeProgram(plan);
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot fork");
  SpawnedProcess process = {
      .pid = pid,
      .pidfd = OpenPidfd(pid),
      .output = std::move(output.read_end),
  };
  const int pidfd_error = process.pidfd.valid() ? 0 : errno;
  status.write_end.Reset();
  const int error = ReadChildError(status.read_end.get());
  if (error == 0 && pidfd_error == 0) return process;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return absl::ErrnoToStatus(
      error != 0 ? error : pidfd_error,
      absl::StrCat("cannot ", error != 0 ? "run " : "watch ", program));
}

}  // namespace caravan::worker
