#include "tests/worker/comm/mpi/mpi_run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::testing {
namespace {

absl::Status SystemError(const char* call, int error) {
  return absl::InternalError(absl::StrCat(call, ": ", std::strerror(error)));
}

// The test's environment, and mpirun's consent to run as root, as tests in
// containers do. No leak check in the ranks: MPI leaves memory behind, and
// unloads the modules by which the leaks could be told from ours.
std::vector<std::string> Environment() {
  std::vector<std::string> environment = {"OMPI_ALLOW_RUN_AS_ROOT=1",
                                          "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                                          "ASAN_OPTIONS=detect_leaks=0"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (absl::StartsWith(*entry, "OMPI_ALLOW_RUN_AS_ROOT") ||
        absl::StartsWith(*entry, "ASAN_OPTIONS=")) {
      continue;
    }
    environment.push_back(*entry);
  }
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MpiRun>> MpiRun::Start(
    int ranks, std::vector<std::string> arguments) {
  std::vector<std::string> command = {"mpirun",    "-n",   absl::StrCat(ranks),
                                      "--bind-to", "none", "--oversubscribe"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = Environment();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError("pipe2", errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, "mpirun", &actions, nullptr, Pointers(command).data(),
                   Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return SystemError("posix_spawnp mpirun", error);
  }
  return std::unique_ptr<MpiRun>(new MpiRun(pid, ends[0]));
}

MpiRun::~MpiRun() {
  if (pid_ != 0) {
    // mpirun passes this on to its ranks, and kills them a second later.
    kill(pid_, SIGTERM);
    if (!AwaitExit(absl::Seconds(10)).ok()) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  close(pipe_);
}

absl::StatusOr<std::string> MpiRun::AwaitLine(const std::string& text,
                                              absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    for (size_t end; (end = output_.find('\n', seen_)) != std::string::npos;) {
      const std::string line = output_.substr(seen_, end - seen_);
      seen_ = end + 1;
      if (line.find(text) != std::string::npos) return line;
    }
    CARAVAN_ASSIGN_OR_RETURN(const bool more, ReadMore(deadline));
    if (!more) {
      return absl::OutOfRangeError(
          absl::StrCat("no line with \"", text, "\" in: ", output_));
    }
  }
}

absl::StatusOr<int> MpiRun::AwaitExit(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  bool more = true;
  while (more) {
    CARAVAN_ASSIGN_OR_RETURN(more, ReadMore(deadline));
  }
  // All ends of the pipe are closed: mpirun is at its end.
  int status = 0;
  if (waitpid(pid_, &status, 0) < 0) return SystemError("waitpid", errno);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

absl::StatusOr<bool> MpiRun::ReadMore(absl::Time deadline) {
  const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
  pollfd entry{.fd = pipe_, .events = POLLIN, .revents = 0};
  const int ready =
      poll(&entry, 1, static_cast<int>(std::max<int64_t>(left, 0)));
  if (ready < 0) return SystemError("poll", errno);
  if (ready == 0) {
    return absl::DeadlineExceededError(
        absl::StrCat("mpirun is silent; it said: ", output_));
  }
  char buffer[4096];
  const ssize_t got = read(pipe_, buffer, sizeof(buffer));
  if (got < 0) return SystemError("read", errno);
  output_.append(buffer, got);
  return got > 0;
}

}  // namespace caravan::testing
