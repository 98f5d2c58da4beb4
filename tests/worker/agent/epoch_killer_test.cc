#include "worker/agent/epoch_killer.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/engine_environment.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"
#include "worker/agent/runtime_folder.h"
#include "worker/agent/spawner.h"

namespace caravan::worker {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class EpochKillerTest : public ::testing::Test {
 protected:
  void SetUp() override { prctl(PR_SET_CHILD_SUBREAPER, 1); }
  void TearDown() override {
    EpochKiller rest(
        [this](const Mark& mark) { return mark.incarnation == incarnation_; },
        RealClock());
    KillAll(rest, RealClock());
    while (waitpid(-1, nullptr, 0) > 0) {
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  void Start(uint64_t epoch, const std::string& script) {
    const Mark mark = {incarnation_, {.replica = 1, .epoch = epoch}};
    absl::StatusOr<SpawnedProcess> process = Spawn(
        {.program = "sh",
         .arguments = {"-c", script},
         .environment = {"PATH=/usr/bin:/bin",
                         absl::StrCat(kMarkVariable, "=", FormatMark(mark))}});
    CARAVAN_ASSERT_OK(process);
    processes_.push_back(*std::move(process));
  }

  std::vector<MarkedProcess> Left() {
    return FindMarked(
        [this](const Mark& mark) { return mark.incarnation == incarnation_; });
  }

  bool AwaitAtLeast(size_t count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    while (Left().size() < count) {
      if (absl::Now() > deadline) return false;
      sched_yield();
    }
    return true;
  }

  const std::string incarnation_ = absl::StrCat(DrawHexId(), "-test");
  std::vector<SpawnedProcess> processes_;
};

TEST_F(EpochKillerTest, KillsWhatHasMovedAway) {
  // In another session, in another process group of a parent that is gone,
  // stopped, and deaf to everything that can be ignored.
  Start(1, "setsid sleep 100");
  Start(1, "(setsid sh -c '(sleep 100 & exit) ; exit') & exit 0");
  Start(1, "sleep 100 & kill -STOP $!; wait");
  Start(1, "trap '' TERM INT HUP; while :; do sleep 100; done");
  ASSERT_TRUE(AwaitAtLeast(5)) << Left().size();
  EpochKiller killer(
      [this](const Mark& mark) { return mark.incarnation == incarnation_; },
      RealClock());
  KillAll(killer, RealClock());
  EXPECT_EQ(killer.problem(), "");
  EXPECT_GE(killer.num_killed(), 5);
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(EpochKillerTest, KillsWhatForksAllTheTime) {
  Start(1, "while :; do sleep 100 & sleep 0.001; done");
  ASSERT_TRUE(AwaitAtLeast(20)) << Left().size();
  EpochKiller killer(
      [this](const Mark& mark) { return mark.incarnation == incarnation_; },
      RealClock());
  KillAll(killer, RealClock());
  EXPECT_EQ(killer.problem(), "");
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(EpochKillerTest, LeavesOtherEpochsAlone) {
  Start(1, "exec sleep 100");
  Start(2, "exec sleep 100");
  EpochKiller killer(
      [this](const Mark& mark) {
        return mark.incarnation == incarnation_ && mark.epoch.epoch <= 1;
      },
      RealClock());
  KillAll(killer, RealClock());
  EXPECT_EQ(killer.num_killed(), 1);
  ASSERT_THAT(Left(), SizeIs(1));
  EXPECT_EQ(Left()[0].mark.epoch.epoch, 2u);
}

TEST_F(EpochKillerTest, OneCleanLookIsNotEnough) {
  testing::FakeClock clock;
  EpochKiller killer([](const Mark&) { return false; }, clock);
  EXPECT_FALSE(killer.Look());
  EXPECT_TRUE(killer.Look());
  EXPECT_EQ(killer.num_killed(), 0);
}

TEST_F(EpochKillerTest, NamesWhatDoesNotDieInTime) {
  Start(1, "exec sleep 100");
  testing::FakeClock clock;
  // As if it did not die: it is found, but its mark changes before the kill.
  bool look = false;
  EpochKiller killer(
      [&](const Mark& mark) {
        if (mark.incarnation != incarnation_) return false;
        look = !look;
        return look;
      },
      clock);
  EXPECT_FALSE(killer.Look());
  clock.Advance(EpochKiller::kTimeout);
  EXPECT_TRUE(killer.Look());
  EXPECT_THAT(killer.problem(),
              AllOf(StartsWith(absl::StrCat("pid ", processes_[0].pid, " (")),
                    EndsWith(") of r1 e1 does not die of SIGKILL")));
}

}  // namespace
}  // namespace caravan::worker
