#include "worker/comm/mpi/mpi_world.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/mpi/mpi_run.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::MpiRun;
using ::testing::HasSubstr;

class MpiConformanceTest : public ::testing::TestWithParam<int> {};

TEST_P(MpiConformanceTest, AllCasesPassBySharedMemory) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto run,
                               MpiRun::Start(GetParam(), {CARAVAN_SUITE_RANK}));
  EXPECT_THAT(run->AwaitExit(absl::Seconds(120)), IsOkAndHolds(0))
      << run->output();
}

TEST_P(MpiConformanceTest, AllCasesPassByTcp) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      auto run, MpiRun::Start(GetParam(), {"--mca", "btl", "tcp,self",
                                           CARAVAN_SUITE_RANK}));
  EXPECT_THAT(run->AwaitExit(absl::Seconds(120)), IsOkAndHolds(0))
      << run->output();
}

INSTANTIATE_TEST_SUITE_P(Ranks, MpiConformanceTest, ::testing::Range(1, 7));

// Ranks of other stages need the core.
TEST(MpiWorldTest, WaitingCostsLittleAndIdlingNothing) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto run, MpiRun::Start(2, {CARAVAN_WAIT_RANK}));
  for (int i = 0; i < 2; ++i) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string line,
                                 run->AwaitLine("cpu_ms=", absl::Seconds(30)));
    int milliseconds = 0;
    ASSERT_TRUE(
        absl::SimpleAtoi(line.substr(line.find("cpu_ms=") + 7), &milliseconds))
        << line;
    EXPECT_LT(milliseconds, line.find("rank=0") == 0 ? 150 : 10) << line;
  }
  EXPECT_THAT(run->AwaitExit(absl::Seconds(30)), IsOkAndHolds(0))
      << run->output();
}

// The processes of the ranks, once all of them reduce.
std::map<int, pid_t> AwaitRanks(MpiRun& run, int ranks) {
  std::map<int, pid_t> pids;
  for (int i = 0; i < ranks; ++i) {
    const auto line = run.AwaitLine("running rank=", absl::Seconds(30));
    if (!line.ok()) {
      ADD_FAILURE() << line.status();
      break;
    }
    const std::vector<absl::string_view> words = absl::StrSplit(*line, ' ');
    int rank = -1;
    pid_t pid = 0;
    if (words.size() != 3 ||
        !absl::SimpleAtoi(absl::StripPrefix(words[1], "rank="), &rank) ||
        !absl::SimpleAtoi(absl::StripPrefix(words[2], "pid="), &pid)) {
      ADD_FAILURE() << *line;
      break;
    }
    pids[rank] = pid;
  }
  return pids;
}

// mpirun may be gone a moment before its last rank.
bool EndsSoon(pid_t pid) {
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process < 0) return errno == ESRCH;
  pollfd entry{.fd = process, .events = POLLIN, .revents = 0};
  const bool ended = poll(&entry, 1, 5000) == 1;
  close(process);
  return ended;
}

class MpiFaultTest : public ::testing::TestWithParam<const char*> {};

// mpirun ends the job.
TEST_P(MpiFaultTest, AKilledRankEndsTheJob) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      auto run, MpiRun::Start(3, {CARAVAN_FAULT_RANK, GetParam(), "60000"}));
  const std::map<int, pid_t> pids = AwaitRanks(*run, 3);
  ASSERT_EQ(pids.size(), 3u);
  const absl::Time begin = absl::Now();
  ASSERT_EQ(kill(pids.at(1), SIGKILL), 0);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const int code,
                               run->AwaitExit(absl::Seconds(20)));
  EXPECT_NE(code, 0);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  for (const auto& [rank, pid] : pids) {
    EXPECT_TRUE(EndsSoon(pid)) << "rank " << rank << " lives";
  }
}

// Nobody but the deadline notices a rank that stands still.
TEST_P(MpiFaultTest, AStoppedRankIsNamedByTheOthers) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      auto run, MpiRun::Start(3, {CARAVAN_FAULT_RANK, GetParam(), "1000"}));
  const std::map<int, pid_t> pids = AwaitRanks(*run, 3);
  ASSERT_EQ(pids.size(), 3u);
  const absl::Time begin = absl::Now();
  ASSERT_EQ(kill(pids.at(1), SIGSTOP), 0);
  for (int survivor = 0; survivor < 2; ++survivor) {
    const auto line = run->AwaitLine("ended rank=", absl::Seconds(10));
    CARAVAN_EXPECT_OK(line);
    if (!line.ok()) break;
    EXPECT_THAT(*line, HasSubstr("DEADLINE_EXCEEDED: all-reduce timed out: "
                                 "group=tp0 peer=1 after=1s"));
    EXPECT_THAT(*line, HasSubstr("; then ABORTED: group broken"));
  }
  EXPECT_LT(absl::Now() - begin, absl::Seconds(3));
  for (const auto& [rank, pid] : pids) kill(pid, SIGKILL);
  CARAVAN_EXPECT_OK(run->AwaitExit(absl::Seconds(20)));
}

INSTANTIATE_TEST_SUITE_P(Values, MpiFaultTest,
                         ::testing::Values("4096", "2000000"));

}  // namespace
}  // namespace caravan::worker
