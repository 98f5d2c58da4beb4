#include "coordinator/cluster/replica_supervisor.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/cluster/replica_supervisor_fixture.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(ReplicaSupervisorTest, OneRankIsLaunchedWithoutMpi) {
  Make(1, 1, 1);
  Join("a");
  const Wishes wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  const v1::LaunchEngine& launch = wishes.agents[0].command.launch_engine();
  EXPECT_EQ(launch.epoch(), 1u);
  EXPECT_EQ(launch.rank(), 0);
  EXPECT_EQ(launch.device(), "cpu");
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLaunching);

  CARAVAN_ASSERT_OK(Hello(0));
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLoading);
  const Wishes plan = Take();
  ASSERT_THAT(plan.engines, SizeIs(1));
  EXPECT_EQ(plan.engines[0].command.plan().epoch(), 1u);
  Ready(0);
  EXPECT_THAT(Take().started, SizeIs(1));
  EXPECT_EQ(supervisor_->state(), ReplicaState::kRunning);
}

TEST_F(ReplicaSupervisorTest, SeveralRanksAreLaunchedByMpirunOnTheLeadNode) {
  Make(2, 2, 4);
  for (const char* name : {"c", "a", "d"}) Join(name);
  Wishes wishes = Take();
  EXPECT_THAT(wishes.agents, IsEmpty());
  EXPECT_THAT(wishes.lines,
              ElementsAre("1 of 4 nodes joined (c), waiting for 3 more",
                          "2 of 4 nodes joined (a, c), waiting for 2 more",
                          "3 of 4 nodes joined (a, c, d), waiting for 1 more"));
  Join("b");
  wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  EXPECT_EQ(wishes.agents[0].node, "a");
  const v1::LaunchMpi& launch = wishes.agents[0].command.launch_mpi();
  ASSERT_EQ(launch.hosts_size(), 4);
  EXPECT_EQ(launch.hosts(2).node(), "c");
  EXPECT_EQ(launch.hosts(2).slots(), 1);
  EXPECT_THAT(launch.subnets(), ElementsAre("10.0.0.0/24"));
}

TEST_F(ReplicaSupervisorTest, SimulatedEnginesNeedNoMpi) {
  device_ = "simulated";
  Make(2, 2, 1);
  Join("a");
  const Wishes wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(4));
  EXPECT_EQ(wishes.agents[3].command.launch_engine().rank(), 3);
  EXPECT_EQ(wishes.agents[3].command.launch_engine().device(), "simulated");
}

TEST_F(ReplicaSupervisorTest, GpuRanksStartByThemselvesAndDialEachOther) {
  device_ = "cuda";
  Make(3, 1, 1);
  Join("a");
  const Wishes launched = Take();
  ASSERT_THAT(launched.agents, SizeIs(3));
  const v1::LaunchEngine& launch = launched.agents[1].command.launch_engine();
  EXPECT_EQ(launch.device(), "cuda");
  EXPECT_EQ(launch.device_uuid(), "GPU-1");
  EXPECT_TRUE(launch.is_dialed());

  // Nobody gets a plan before it is known where all are.
  CARAVAN_ASSERT_OK(Hello(2));
  CARAVAN_ASSERT_OK(Hello(0));
  EXPECT_THAT(Take().engines, IsEmpty());
  CARAVAN_ASSERT_OK(Hello(1));
  const Wishes plans = Take();
  ASSERT_THAT(plans.engines, SizeIs(3));
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(plans.engines[rank].rank, rank);
    const v1::EnginePlan& plan = plans.engines[rank].command.plan();
    EXPECT_EQ(plan.meeting_secret(), "secret 1");
    EXPECT_EQ(plan.ranks(2).endpoint(), "10.0.0.1:2");
  }
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLoading);
}

TEST_F(ReplicaSupervisorTest, CpuRanksBesideGpusAreDialedToo) {
  device_ = "cuda,cpu";
  Make(1, 2, 1);
  Join("a");
  const Wishes launched = Take();
  ASSERT_THAT(launched.agents, SizeIs(2));
  const v1::LaunchEngine& gpu = launched.agents[0].command.launch_engine();
  EXPECT_EQ(gpu.device(), "cuda");
  EXPECT_EQ(gpu.device_uuid(), "GPU-0");
  EXPECT_TRUE(gpu.is_dialed());
  const v1::LaunchEngine& cpu = launched.agents[1].command.launch_engine();
  EXPECT_EQ(cpu.device(), "cpu");
  EXPECT_THAT(cpu.device_uuid(), IsEmpty());
  EXPECT_TRUE(cpu.is_dialed());
}

TEST_F(ReplicaSupervisorTest, AnEngineAloneIsNotDialed) {
  Make(1, 1, 1);
  Join("a");
  const Wishes launched = Take();
  ASSERT_THAT(launched.agents, SizeIs(1));
  EXPECT_FALSE(launched.agents[0].command.launch_engine().is_dialed());
}

TEST_F(ReplicaSupervisorTest, AGpuRankThatCannotBeDialedIsRefused) {
  device_ = "cuda";
  Make(2, 1, 1);
  Join("a");
  v1::EngineReport report = Report(1);
  report.mutable_hello()->set_node("a");
  EXPECT_THAT(
      supervisor_->OnEngineHello(report),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("rank 1")));
}

TEST_F(ReplicaSupervisorTest, AStartedEpochWaitsForEveryRank) {
  Make(2, 1, 1);
  Join("a");
  CARAVAN_ASSERT_OK(Hello(1));
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLaunching);
  Ready(1);
  CARAVAN_ASSERT_OK(Hello(0));
  Take();
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLoading);
  Ready(0);
  EXPECT_EQ(supervisor_->state(), ReplicaState::kRunning);
}

TEST_F(ReplicaSupervisorTest, EnginesOfOtherEpochsAreRefused) {
  Make(1, 1, 1);
  Join("a");
  v1::EngineReport report = Report(0);
  report.mutable_hello()->set_node("a");
  report.set_epoch(2);
  EXPECT_THAT(
      supervisor_->OnEngineHello(report),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("epoch 2")));
  report.set_epoch(1);
  report.set_replica(1);
  EXPECT_THAT(supervisor_->OnEngineHello(report),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ReplicaSupervisorTest, WhatCannotBePlannedIsGivenUpAtTheStart) {
  Make(1, 1, 1);
  plan_status_ = absl::ResourceExhaustedError("3 GiB too large");
  Join("a");
  EXPECT_THAT(Take().gave_up,
              ElementsAre(StatusIs(absl::StatusCode::kResourceExhausted,
                                   HasSubstr("3 GiB"))));
}

TEST_F(ReplicaSupervisorTest, WhatNoLongerFitsWaitsForMoreNodes) {
  Make(2, 1, 2);
  Join("a");
  Join("b");
  RunToReady(2);
  Lose("b", "gone");
  Cleared("a", 1);
  Take();
  plan_status_ = absl::ResourceExhaustedError("3 GiB too large");
  clock_.Advance(absl::Milliseconds(200));
  supervisor_->Tick({});
  Wishes wishes = Take();
  EXPECT_THAT(wishes.gave_up, IsEmpty());
  EXPECT_THAT(wishes.lines, ElementsAre(HasSubstr("waiting for more nodes")));
  plan_status_ = absl::OkStatus();
  Join("b");
  Cleared("b", 1);
  EXPECT_EQ(supervisor_->state(), ReplicaState::kLaunching);
}

TEST_F(ReplicaSupervisorTest, RepeatedStartFailuresAreGivenUpWhereAsked) {
  max_start_failures_ = 2;
  Make(1, 1, 1);
  Join("a");
  Exit("a", "engine", 0, "exited with code 1");
  PassDiagnosis();
  EXPECT_THAT(Take().gave_up, IsEmpty());
  Cleared("a", 1);
  clock_.Advance(absl::Seconds(1));
  supervisor_->Tick({});
  Exit("a", "engine", 0, "exited with code 1");
  PassDiagnosis();
  EXPECT_THAT(Take().gave_up,
              ElementsAre(StatusIs(absl::StatusCode::kUnavailable,
                                   HasSubstr("exited with code 1"))));
}

TEST_F(ReplicaSupervisorTest, AWrongModelIsGivenUpAtOnceWhereAsked) {
  max_start_failures_ = 3;
  Make(1, 1, 1);
  Join("a");
  CARAVAN_ASSERT_OK(Hello(0));
  Take();
  Fail(0, absl::StatusCode::kDataLoss, "model.safetensors ends early");
  PassDiagnosis();
  EXPECT_THAT(Take().gave_up, ElementsAre(StatusIs(absl::StatusCode::kDataLoss,
                                                   HasSubstr("ends early"))));
}

TEST_F(ReplicaSupervisorTest,
       RelayRequestsGoToTheirTargetAndStaleOnesAreRefused) {
  Make(2, 1, 2);
  Join("a");
  Join("b");
  Take();
  v1::AgentReport report;
  v1::RelayRequest* request = report.mutable_relay_request();
  request->set_epoch(1);
  request->set_request(1);
  request->set_target_node("b");
  supervisor_->OnAgentReport("a", report);
  Wishes wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  EXPECT_EQ(wishes.agents[0].node, "b");
  ASSERT_TRUE(wishes.agents[0].command.has_start_daemon());

  v1::AgentReport answer;
  answer.mutable_daemon_started()->set_epoch(1);
  answer.mutable_daemon_started()->set_request(
      wishes.agents[0].command.start_daemon().request());
  supervisor_->OnAgentReport("b", answer);
  wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  EXPECT_EQ(wishes.agents[0].node, "a");
  EXPECT_EQ(wishes.agents[0].command.relay_answer().code(), 0);

  request->set_target_node("z");
  supervisor_->OnAgentReport("a", report);
  wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  EXPECT_EQ(wishes.agents[0].command.relay_answer().code(),
            static_cast<int>(absl::StatusCode::kNotFound));

  request->set_target_node("b");
  request->set_epoch(9);
  supervisor_->OnAgentReport("a", report);
  wishes = Take();
  ASSERT_THAT(wishes.agents, SizeIs(1));
  EXPECT_NE(wishes.agents[0].command.relay_answer().code(), 0);
}

TEST_F(ReplicaSupervisorTest, StopEndsTheEpochWithoutBlame) {
  Make(1, 1, 1);
  Join("a");
  RunToReady(1);
  Take();
  supervisor_->Stop();
  const Wishes wishes = Take();
  EXPECT_THAT(wishes.errors, IsEmpty());
  EXPECT_THAT(wishes.ended, SizeIs(1));
  EXPECT_THAT(wishes.Killed(1), ElementsAre("a"));
  supervisor_->OnEngineGone(1, 0);
  Cleared("a", 1);
  EXPECT_EQ(supervisor_->state(), ReplicaState::kStopped);
  clock_.Advance(absl::Minutes(1));
  supervisor_->Tick({});
  EXPECT_THAT(Take().agents, IsEmpty());
}

}  // namespace
}  // namespace caravan::coordinator
