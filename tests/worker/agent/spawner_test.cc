#include "worker/agent/spawner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

// What the child writes until it ends, and its wait status.
struct Outcome {
  std::string output;
  int status = -1;
};

Outcome Finish(SpawnedProcess& process) {
  Outcome outcome;
  char buffer[4096];
  pollfd polled = {process.output.get(), POLLIN, 0};
  while (poll(&polled, 1, 10'000) > 0) {
    const ssize_t count = read(process.output.get(), buffer, sizeof(buffer));
    if (count <= 0) break;
    outcome.output.append(buffer, count);
  }
  waitpid(process.pid, &outcome.status, 0);
  return outcome;
}

Outcome Shell(const std::string& script,
              std::vector<std::string> environment = {"PATH=/usr/bin:/bin"}) {
  absl::StatusOr<SpawnedProcess> process =
      Spawn({.program = "sh",
             .arguments = {"-c", script},
             .environment = std::move(environment)});
  EXPECT_THAT(process, testing::IsOk());
  return process.ok() ? Finish(*process) : Outcome();
}

TEST(SpawnerTest, RunsWithTheGivenEnvironmentOnly) {
  const Outcome outcome = Shell("env; exit 3", {"PATH=/usr/bin:/bin", "A=b c"});
  EXPECT_THAT(outcome.output, HasSubstr("A=b c\n"));
  EXPECT_EQ(outcome.output.find("HOME="), std::string::npos);
  EXPECT_EQ(WEXITSTATUS(outcome.status), 3);
}

TEST(SpawnerTest, OutputAndErrorsComeTogetherAndThereIsNoInput) {
  EXPECT_EQ(Shell("cat; echo out; echo err >&2").output, "out\nerr\n");
}

TEST(SpawnerTest, TheChildHasNoOtherDescriptor) {
  // One that is inherited by mistake.
  const UniqueFd leak(open("/dev/null", O_RDONLY));
  EXPECT_EQ(Shell("ls /proc/self/fd | wc -l").output, "4\n");  // and ls's own
}

TEST(SpawnerTest, TheChildLeadsASessionAndHasDefaultSignals) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  const std::string status = Shell("cat /proc/self/status").output;
  pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
  signal(SIGPIPE, SIG_DFL);
  EXPECT_THAT(status, HasSubstr("SigBlk:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("SigIgn:\t0000000000000000"));
  const std::string session =
      Shell("echo $$; cut -d' ' -f6 /proc/$$/stat").output;
  const size_t half = session.size() / 2;
  EXPECT_EQ(session.substr(0, half), session.substr(half));
}

TEST(SpawnerTest, ItsEnvironmentShowsAtOnce) {
  absl::StatusOr<SpawnedProcess> process =
      Spawn({.program = "sleep", .arguments = {"100"}, .environment = {"A=b"}});
  CARAVAN_ASSERT_OK(process);
  EXPECT_THAT(
      ReadSmallFile(absl::StrCat("/proc/", process->pid, "/environ"), 1 << 20),
      testing::IsOkAndHolds(HasSubstr("A=b")));
  kill(process->pid, SIGKILL);
  Finish(*process);
}

TEST(SpawnerTest, TheChildDiesWithTheThread) {
  absl::StatusOr<SpawnedProcess> process = absl::UnknownError("not started");
  std::thread([&] {
    process = Spawn({.program = "sleep", .arguments = {"100"}});
  }).join();
  CARAVAN_ASSERT_OK(process);
  const Outcome outcome = Finish(*process);
  EXPECT_TRUE(WIFSIGNALED(outcome.status));
  EXPECT_EQ(WTERMSIG(outcome.status), SIGKILL);
}

TEST(SpawnerTest, SaysWhyAProgramDoesNotRun) {
  EXPECT_THAT(Spawn({.program = "/nowhere/x"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/x")));
  EXPECT_THAT(
      Spawn({.program = "no-such-program", .environment = {"PATH=/bin"}}),
      StatusIs(absl::StatusCode::kNotFound,
               HasSubstr("no program 'no-such-program' in PATH=/bin")));
  EXPECT_THAT(Spawn({.program = ""}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  // Executable by its mode, but no program.
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/broken";
  CARAVAN_ASSERT_OK(WriteSmallFile(path, "\x7f\x45LF"));
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  EXPECT_THAT(Spawn({.program = path}), ::testing::Not(testing::IsOk()));
}

}  // namespace
}  // namespace caravan::worker
