#include "coordinator/cluster/local_agent.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"

namespace caravan::coordinator {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);
constexpr absl::Duration kLongestBackoff = absl::Seconds(5);
// An agent that lived shorter has failed to start.
constexpr absl::Duration kSoon = absl::Seconds(2);
constexpr int kMaxFailedStarts = 3;

std::string DescribeEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return absl::StrCat("killed by signal ", WTERMSIG(wait_status), " (",
                        strsignal(WTERMSIG(wait_status)), ")");
  }
  return absl::StrCat("exited with code ", WEXITSTATUS(wait_status));
}

// Between fork and exec only what is safe there: no allocation, no lock.
[[noreturn]] void BecomeAgent(char* const* arguments, int output,
                              pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(126);  // it died in between
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  syscall(SYS_close_range, 3, ~0U, 0);
  execv(arguments[0], arguments);
  _exit(127);
}

}  // namespace

class LocalAgent::Impl {
 public:
  explicit Impl(LocalAgentOptions options) : options_(std::move(options)) {}
  ~Impl() { Stop(absl::ZeroDuration()); }

  absl::Status Start() {
    if (access(options_.program.c_str(), X_OK) != 0) {
      return absl::ErrnoToStatus(errno,
                                 absl::StrCat("cannot run ", options_.program));
    }
    try {
      // The death signal comes when the thread that forked ends: this one lives
      // as long as this object.
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot start a thread: ", error.what()));
    }
    return absl::OkStatus();
  }

  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    if (failed_starts_ < kMaxFailedStarts) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("this machine's agent does not stay alive: ", last_end_));
  }

  void ExpectExit() {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }

  void Stop(absl::Duration timeout) {
    ExpectExit();
    if (!thread_.joinable()) return;
    {
      absl::MutexLock lock(&mutex_);
      const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return done_;
      };
      mutex_.AwaitWithTimeout(absl::Condition(&ended), timeout);
      // Not reaped before done_, so it is nobody else.
      if (!done_ && pid_ > 0) kill(pid_, SIGKILL);
    }
    thread_.join();
  }

 private:
  void Run() {
    while (true) {
      const absl::Time began = absl::Now();
      RunOnce();
      absl::MutexLock lock(&mutex_);
      failed_starts_ = absl::Now() - began < kSoon ? failed_starts_ + 1 : 0;
      const auto stopping = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_;
      };
      const absl::Duration backoff = std::min(
          kLongestBackoff, kFirstBackoff * (1 << std::min(failed_starts_, 10)));
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping), backoff)) {
        done_ = true;
        return;
      }
    }
  }

  void RunOnce() {
    std::vector<std::string> words = {options_.program};
    words.insert(words.end(), options_.arguments.begin(),
                 options_.arguments.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    int output = -1;
    if (!options_.output_file.empty()) {
      output = open(options_.output_file.c_str(),
                    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    const pid_t pid = Fork(arguments.data(), output);
    if (output >= 0) close(output);
    if (pid <= 0) return;
    siginfo_t info = {};
    // Leaves it unreaped, so that the pid stays its own until pid_ is cleared.
    while (waitid(P_PID, pid, &info, WEXITED | WNOWAIT) != 0 &&
           errno == EINTR) {
    }
    absl::MutexLock lock(&mutex_);
    pid_ = 0;
    int wait_status = 0;
    waitpid(pid, &wait_status, 0);
    last_end_ = DescribeEnd(wait_status);
    if (!stopping_) {
      LogWarning(absl::StrCat("this machine's agent ended (", last_end_,
                              "); starting it again"));
    }
  }

  // Not positive when there is no child.
  pid_t Fork(char* const* arguments, int output) {
    const pid_t parent = getpid();
    absl::MutexLock lock(&mutex_);
    if (stopping_) return 0;
    const pid_t pid = fork();
    if (pid == 0) BecomeAgent(arguments, output, parent);
    if (pid < 0) last_end_ = absl::StrCat("cannot fork: ", strerror(errno));
    pid_ = std::max(pid, 0);
    return pid;
  }

  const LocalAgentOptions options_;
  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  pid_t pid_ ABSL_GUARDED_BY(mutex_) = 0;
  int failed_starts_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string last_end_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

LocalAgent::LocalAgent(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalAgent::~LocalAgent() = default;

absl::StatusOr<std::unique_ptr<LocalAgent>> LocalAgent::Start(
    LocalAgentOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  const absl::Status status = impl->Start();
  if (!status.ok()) return status;
  return std::unique_ptr<LocalAgent>(new LocalAgent(std::move(impl)));
}

absl::Status LocalAgent::status() const { return impl_->status(); }
void LocalAgent::ExpectExit() { impl_->ExpectExit(); }
void LocalAgent::Stop(absl::Duration timeout) { impl_->Stop(timeout); }

}  // namespace caravan::coordinator
