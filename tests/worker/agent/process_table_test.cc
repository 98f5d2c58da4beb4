#include "worker/agent/process_table.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::EndsWith;

class ProcessTableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto table = ProcessTable::Create([this](ProcessExit exit) {
      absl::MutexLock lock(&mutex_);
      exits_.push_back(std::move(exit));
    });
    CARAVAN_ASSERT_OK(table);
    table_ = *std::move(table);
  }

  pid_t Shell(const std::string& script, int rank = -1) {
    const absl::StatusOr<pid_t> pid =
        table_->Start({.epoch = {1, 2}, .role = "engine", .rank = rank},
                      {.program = "sh",
                       .arguments = {"-c", script},
                       .environment = {"PATH=/usr/bin:/bin"}});
    EXPECT_THAT(pid, testing::IsOk());
    return pid.value_or(-1);
  }

  // The next exit; pid 0 when there is none in time.
  ProcessExit NextExit() {
    absl::MutexLock lock(&mutex_);
    const auto some = [this] { return !exits_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&some), absl::Seconds(10))) {
      return {};
    }
    ProcessExit exit = std::move(exits_.front());
    exits_.erase(exits_.begin());
    return exit;
  }

  absl::Mutex mutex_;
  std::vector<ProcessExit> exits_;
  std::unique_ptr<ProcessTable> table_;
};

TEST_F(ProcessTableTest, TellsCodeAndLastWords) {
  const pid_t pid = Shell("echo one; echo two >&2; exit 5", /*rank=*/3);
  const ProcessExit exit = NextExit();
  EXPECT_EQ(exit.pid, pid);
  EXPECT_EQ(exit.label.epoch, (EpochKey{1, 2}));
  EXPECT_EQ(exit.label.role, "engine");
  EXPECT_EQ(exit.label.rank, 3);
  EXPECT_EQ(exit.reason, "exited with code 5");
  EXPECT_EQ(exit.last_words, "one\ntwo\n");
  EXPECT_FALSE(table_->Knows(pid));
}

TEST_F(ProcessTableTest, WritesTheirLinesAtTheirLevel) {
  InitializeLog("agent a", LogLevel::kWarning);
  ::testing::internal::CaptureStderr();
  Shell(
      "echo 'no level'\n"
      "echo '2026-11-24T12:34:54.277 I [engine r1 e2 rank 0] idle'\n"
      "echo '2026-11-24T12:34:54.277 W [engine r1 e2 rank 0] slow'\n"
      "echo '[1,3]<stderr>:2026-11-24T12:34:54.277 E [engine r1 e2 rank 3] "
      "bad'");
  NextExit();
  const std::string written = ::testing::internal::GetCapturedStderr();
  InitializeLog("test", LogLevel::kInfo);
  const std::vector<std::string> lines = absl::StrSplit(written, '\n');
  ASSERT_EQ(lines.size(), 3u) << written;
  EXPECT_THAT(lines[0], EndsWith(" W [agent a] [engine r1 e2 rank 0] slow"));
  EXPECT_THAT(lines[1], EndsWith(" E [agent a] [engine r1 e2 rank 3] bad"));
}

TEST_F(ProcessTableTest, TellsSignals) {
  const pid_t pid = Shell("exec sleep 100");
  EXPECT_TRUE(table_->Knows(pid));
  ASSERT_EQ(kill(pid, SIGTERM), 0);
  EXPECT_EQ(NextExit().reason, "killed by signal 15 (Terminated)");
}

TEST_F(ProcessTableTest, AFloodOfOutputNeitherBlocksNorGrows) {
  Shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end");
  const ProcessExit exit = NextExit();
  EXPECT_EQ(exit.reason, "exited with code 0");
  EXPECT_LT(exit.last_words.size(), 12000u);
  EXPECT_TRUE(exit.last_words.size() >= 4 &&
              exit.last_words.substr(exit.last_words.size() - 4) == "end\n")
      << exit.last_words;
}

TEST_F(ProcessTableTest, AChildThatKeepsTheOutputOpenDoesNotDelayTheNews) {
  Shell("sleep 100 & echo $!; exit 1");
  const ProcessExit exit = NextExit();
  EXPECT_EQ(exit.reason, "exited with code 1");
  pid_t sleeper = 0;
  ASSERT_TRUE(absl::SimpleAtoi(exit.last_words, &sleeper));
  EXPECT_EQ(kill(sleeper, SIGKILL), 0);
}

TEST_F(ProcessTableTest, WatchesWhatIsNotItsChild) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  Shell("sleep 100 & echo $!");
  pid_t sleeper = 0;
  ASSERT_TRUE(absl::SimpleAtoi(NextExit().last_words, &sleeper));
  CARAVAN_ASSERT_OK(
      table_->Watch({.epoch = {1, 2}, .role = "engine", .rank = 7}, sleeper));
  EXPECT_TRUE(table_->Knows(sleeper));
  ASSERT_EQ(kill(sleeper, SIGKILL), 0);
  const ProcessExit exit = NextExit();
  EXPECT_EQ(exit.pid, sleeper);
  EXPECT_EQ(exit.label.rank, 7);
  EXPECT_EQ(exit.reason, "killed by signal 9 (Killed)");
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(ProcessTableTest, ReapsOrphansThatNobodyWatches) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  Shell("sh -c 'exit 3' & echo $!; wait; sleep 0 & echo done");
  NextExit();
  table_->ReapOrphans();
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  Shell("exit 0");
  EXPECT_EQ(NextExit().reason, "exited with code 0");
}

TEST_F(ProcessTableTest, CannotWatchWhatIsGone) {
  const pid_t pid = Shell("exit 0");
  NextExit();
  EXPECT_THAT(table_->Watch({}, pid), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ProcessTableTest, ManyAtOnce) {
  std::map<pid_t, int> codes;
  for (int i = 0; i < 50; ++i) codes[Shell(absl::StrCat("exit ", i))] = i;
  for (int i = 0; i < 50; ++i) {
    const ProcessExit exit = NextExit();
    ASSERT_EQ(codes.count(exit.pid), 1u);
    EXPECT_EQ(exit.reason, absl::StrCat("exited with code ", codes[exit.pid]));
    codes.erase(exit.pid);
  }
}

}  // namespace
}  // namespace caravan::worker
