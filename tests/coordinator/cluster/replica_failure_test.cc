// How a replica's supervisor finds what failed, and what it does then.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/cluster/replica_supervisor_fixture.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ReplicaFailureTest : public ReplicaSupervisorTest {};

TEST_F(ReplicaFailureTest, AKilledEngineIsNamedAtOnceAndTheReplicaReturns) {
  Make(2, 2, 2);
  Join("a");
  Join("b");
  RunToReady(4);
  Heartbeat("b", 2, 812, "compute", 5);
  Take();
  // Consequences arrive before the cause.
  supervisor_->OnEngineGone(1, 2);
  Fail(0, absl::StatusCode::kAborted, "another rank failed");
  EXPECT_EQ(supervisor_->state(), ReplicaState::kDiagnosing);
  EXPECT_THAT(Take().errors, IsEmpty());
  Exit("b", "engine", 2, "killed by signal 9 (Killed)");

  Wishes wishes = Take();
  EXPECT_THAT(wishes.errors,
              ElementsAre("replica 0 epoch 1 ended: rank 2 on b: killed by "
                          "signal 9 (Killed) at step 812 in compute"));
  ASSERT_THAT(wishes.ended, SizeIs(1));
  EXPECT_TRUE(wishes.ended[0].had_started);
  EXPECT_EQ(wishes.ended[0].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(wishes.Killed(1), ElementsAre("a", "b"));
  EXPECT_EQ(supervisor_->state(), ReplicaState::kClearing);

  // More consequences change nothing.
  Exit("a", "mpirun", -1, "exited with code 137");
  supervisor_->OnEngineGone(1, 0);
  Cleared("a", 1);
  EXPECT_EQ(supervisor_->state(), ReplicaState::kClearing);
  Cleared("b", 1);
  EXPECT_EQ(supervisor_->state(), ReplicaState::kBackingOff);
  EXPECT_THAT(Take().errors, IsEmpty());

  clock_.Advance(absl::Milliseconds(199));
  supervisor_->Tick({});
  EXPECT_THAT(Take().agents, IsEmpty());
  clock_.Advance(absl::Milliseconds(1));
  supervisor_->Tick({});
  wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  EXPECT_EQ(wishes.agents[0].command.launch_mpi().epoch(), 2u);

  EXPECT_THAT(wishes.lines, IsEmpty());
  clock_.Advance(absl::Milliseconds(2800));
  RunToReady(4);
  EXPECT_THAT(Take().lines,
              ElementsAre("replica 0 runs again after 3s: epoch 2, 4 ranks on "
                          "a, b"));
}

TEST_F(ReplicaFailureTest, WithoutAHeartbeatTheStepInFlightIsNamed) {
  Make(1, 1, 1);
  Join("a");
  Heartbeat("a", 0, 0, "loading", 1);
  RunToReady(1);
  supervisor_->Tick({.in_flight = 2, .oldest_step = 5});
  Take();
  Exit("a", "engine", 0, "killed by signal 9 (Killed)");
  EXPECT_THAT(Take().errors,
              ElementsAre("replica 0 epoch 1 ended: rank 0 on a: killed by "
                          "signal 9 (Killed) at step 5"));
}

TEST_F(ReplicaFailureTest, ALoneWeakSymptomIsNamedAfterTheDiagnosis) {
  Make(1, 1, 1);
  Join("a");
  RunToReady(1);
  Take();
  supervisor_->OnEngineGone(1, 0);
  PassDiagnosis();
  EXPECT_THAT(Take().errors,
              ElementsAre(HasSubstr("rank 0 on a: its connection")));
}

TEST_F(ReplicaFailureTest, TheOddNodeIsNamedWhenItsModelDiffers) {
  Make(2, 1, 2);
  Join("a");
  Join("b");
  CARAVAN_ASSERT_OK(Hello(0));
  CARAVAN_ASSERT_OK(Hello(1));
  Take();
  Fail(0, absl::StatusCode::kAborted, "rank 1 failed");
  Fail(1, absl::StatusCode::kFailedPrecondition,
       "the model here has fingerprint 12, not 34");
  PassDiagnosis();
  const Wishes wishes = Take();
  EXPECT_THAT(wishes.errors,
              ElementsAre("replica 0 epoch 1 ended: rank 1 on b: the model "
                          "here has fingerprint 12, not 34"));
  // Somebody may repair it: no giving up in a cluster.
  EXPECT_THAT(wishes.gave_up, IsEmpty());
  ASSERT_THAT(wishes.ended, SizeIs(1));
  EXPECT_FALSE(wishes.ended[0].had_started);
}

TEST_F(ReplicaFailureTest, ALostNodeIsLeftOutAndUsedAgainLater) {
  Make(2, 1, 2);
  Join("a");
  Join("b");
  RunToReady(2);
  Take();
  Lose("b", "no heartbeat of its agent for 3s");
  Wishes wishes = Take();
  EXPECT_THAT(wishes.errors,
              ElementsAre("replica 0 epoch 1 ended: node b: no heartbeat of "
                          "its agent for 3s"));
  EXPECT_THAT(wishes.Killed(1), ElementsAre("a"));
  Cleared("a", 1);
  clock_.Advance(absl::Milliseconds(200));
  supervisor_->Tick({});
  wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  ASSERT_EQ(wishes.agents[0].command.launch_mpi().hosts_size(), 1);
  EXPECT_EQ(wishes.agents[0].command.launch_mpi().hosts(0).slots(), 2);
  EXPECT_EQ(wishes.agents[0].command.launch_mpi().subnets_size(), 0);
  RunToReady(2);
  Take();

  // It comes back: what it may still hold of epoch 1 is killed first.
  Join("b");
  wishes = Take();
  EXPECT_THAT(wishes.Killed(1), ElementsAre("b"));
  EXPECT_EQ(supervisor_->state(), ReplicaState::kRunning);
  Cleared("b", 1);
  Exit("a", "engine", 0, "killed by signal 11 (Segmentation fault)");
  EXPECT_THAT(Take().Killed(2), ElementsAre("a", "b"));
  Cleared("a", 2);
  Cleared("b", 2);
  clock_.Advance(absl::Seconds(1));
  supervisor_->Tick({});
  wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  EXPECT_EQ(wishes.agents[0].command.launch_mpi().hosts_size(), 2);
}

TEST_F(ReplicaFailureTest, ANodeThatIsNotCleanIsNotUsed) {
  Make(2, 1, 2);
  Join("a");
  Join("b");
  RunToReady(2);
  Exit("a", "engine", 0, "killed by signal 9 (Killed)");
  Take();
  Cleared("a", 1);
  Cleared("b", 1, "process 77 does not die");
  Wishes wishes = Take();
  EXPECT_THAT(wishes.lines, ElementsAre(HasSubstr("process 77 does not die")));
  clock_.Advance(absl::Seconds(5));
  supervisor_->Tick({});
  wishes = Take();
  EXPECT_THAT(wishes.lines, ElementsAre(HasSubstr("node b has not proved")));
  EXPECT_THAT(wishes.Killed(1), ElementsAre("b"));  // asked again
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLaunching);
  for (const v1::RankPlan& rank : supervisor_->plan().ranks()) {
    EXPECT_EQ(rank.node(), "a");
  }
}

TEST_F(ReplicaFailureTest, EverythingLostWaitsForANode) {
  Make(1, 1, 1);
  Join("a");
  RunToReady(1);
  Take();
  Lose("a", "its agent's connection broke");
  EXPECT_THAT(Take().errors, SizeIs(1));
  EXPECT_EQ(supervisor_->state(), ReplicaState::kBackingOff);
  clock_.Advance(absl::Milliseconds(200));
  supervisor_->Tick({});
  EXPECT_EQ(supervisor_->state(), ReplicaState::kWaitingForNodes);
  Join("a");
  EXPECT_THAT(Take().Killed(1), ElementsAre("a"));
  Cleared("a", 1);
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLaunching);
  EXPECT_EQ(supervisor_->epoch(), 2u);
}

TEST_F(ReplicaFailureTest, AStoppedRankIsFoundByItsTicks) {
  Make(2, 1, 1);
  Join("a");
  RunToReady(2);
  const absl::Time began = clock_.Now();
  const StepView steps = {.in_flight = 2,
                          .oldest_step = 40,
                          .since = began,
                          .allowance = absl::Seconds(3)};
  Heartbeat("a", 1, 40, "all-reduce", 7);
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(absl::Milliseconds(500));
    Heartbeat("a", 0, 40, "all-reduce", 100 + i);
    Heartbeat("a", 1, 40, "all-reduce", 7);
    supervisor_->Tick(steps);
  }
  Take();
  EXPECT_EQ(supervisor_->state(), ReplicaState::kRunning);
  clock_.Advance(absl::Milliseconds(500));
  supervisor_->Tick(steps);
  EXPECT_THAT(Take().errors,
              ElementsAre("replica 0 epoch 1 ended: rank 1 on a: no progress "
                          "for 3s at step 40 in all-reduce"));
}

TEST_F(ReplicaFailureTest, ASilentNodeIsJudgedByItsLeaseNotByTheSteps) {
  Make(2, 1, 2);
  Join("a");
  Join("b");
  RunToReady(2);
  Take();
  clock_.Advance(absl::Seconds(3));
  Heartbeat("a", 0, 40, "receive", 1);
  supervisor_->Tick({.in_flight = 1,
                     .oldest_step = 40,
                     .since = clock_.Now() - absl::Seconds(3),
                     .allowance = absl::Seconds(3)});
  EXPECT_EQ(supervisor_->state(), ReplicaState::kRunning);
  Lose("b", "no heartbeat of its agent for 3s");
  EXPECT_THAT(Take().errors, ElementsAre(HasSubstr("node b: no heartbeat")));
}

TEST_F(ReplicaFailureTest, BackOffDoublesAndBeginsAnewAfterASuccess) {
  Make(1, 1, 1);
  Join("a");
  absl::Duration want = absl::Milliseconds(200);
  for (int i = 0; i < 8; ++i) {
    Exit("a", "engine", 0, "killed by signal 9 (Killed)");
    Cleared("a", supervisor_->epoch());
    ASSERT_EQ(supervisor_->state(), ReplicaState::kBackingOff);
    EXPECT_EQ(supervisor_->NextWake() - clock_.Now(), want) << i;
    want = std::min(absl::Seconds(10), 2 * want);
    clock_.Advance(absl::Seconds(10));
    supervisor_->Tick({});
    ASSERT_EQ(supervisor_->state(), ReplicaState::kLaunching);
  }
  RunToReady(1);
  clock_.Advance(absl::Seconds(10));
  Exit("a", "engine", 0, "killed by signal 9 (Killed)");
  Cleared("a", supervisor_->epoch());
  EXPECT_EQ(supervisor_->NextWake() - clock_.Now(), absl::Milliseconds(200));
  // A completed step is a success too, however short the epoch; one that only
  // started is not.
  clock_.Advance(absl::Milliseconds(200));
  supervisor_->Tick({});
  RunToReady(1);
  Exit("a", "engine", 0, "killed by signal 9 (Killed)");
  Cleared("a", supervisor_->epoch());
  EXPECT_EQ(supervisor_->NextWake() - clock_.Now(), absl::Milliseconds(400));
  clock_.Advance(absl::Milliseconds(400));
  supervisor_->Tick({});
  RunToReady(1);
  supervisor_->Tick({.completed = 1});
  Exit("a", "engine", 0, "killed by signal 9 (Killed)");
  Cleared("a", supervisor_->epoch());
  EXPECT_EQ(supervisor_->NextWake() - clock_.Now(), absl::Milliseconds(200));
}

TEST_F(ReplicaFailureTest, AnEngineThatNeverReportsIsNamed) {
  Make(2, 1, 1);
  Join("a");
  CARAVAN_ASSERT_OK(Hello(0));
  Take();
  clock_.Advance(absl::Seconds(60));
  supervisor_->Tick({});
  EXPECT_THAT(Take().errors,
              ElementsAre(HasSubstr("rank 1 on a: it did not report")));
}

TEST_F(ReplicaFailureTest, ALoadWithoutProgressIsNamed) {
  Make(2, 1, 1);
  Join("a");
  CARAVAN_ASSERT_OK(Hello(0));
  CARAVAN_ASSERT_OK(Hello(1));
  Take();
  clock_.Advance(absl::Seconds(119));
  v1::EngineReport report = Report(0);
  report.mutable_load_progress()->set_loaded_bytes(5);
  supervisor_->OnEngineReport(report);
  clock_.Advance(absl::Seconds(1));
  supervisor_->Tick({});
  EXPECT_THAT(Take().errors,
              ElementsAre(HasSubstr("rank 1 on a: no progress")));
}

}  // namespace
}  // namespace caravan::coordinator
