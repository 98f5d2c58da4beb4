#include "coordinator/cluster/replica_supervisor.h"

#include "absl/strings/str_cat.h"
#include "coordinator/cluster/placement.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Node MakeNode(const std::string& name, const std::string& address) {
  Node node;
  node.name = name;
  node.data_address = address;
  v1::Device device;
  device.set_kind("cpu");
  device.set_num_cores(4);
  node.devices.push_back(device);
  return node;
}

// Ranks dealt over the nodes in contiguous blocks.
v1::EnginePlan Spread(const std::vector<Node>& nodes, int tp, int pp) {
  v1::EnginePlan plan;
  plan.set_tp(tp);
  plan.set_pp(pp);
  const std::vector<RankPlacement> placement =
      *PlaceRanks(nodes, {.tp = tp, .pp = pp});
  for (size_t i = 0; i < placement.size(); ++i) {
    v1::RankPlan* rank = plan.add_ranks();
    rank->set_rank(static_cast<int>(i));
    rank->set_node(placement[i].device.node);
  }
  return plan;
}

// What the supervisor wanted done, sorted by kind.
struct Wishes {
  std::vector<ToAgent> agents;
  std::vector<ToEngine> engines;
  std::vector<EpochStarted> started;
  std::vector<EpochEnded> ended;
  std::vector<std::string> errors;
  std::vector<std::string> lines;  // below error
  std::vector<absl::Status> gave_up;

  void operator()(ToAgent action) { agents.push_back(std::move(action)); }
  void operator()(ToEngine action) { engines.push_back(std::move(action)); }
  void operator()(EpochStarted action) { started.push_back(action); }
  void operator()(EpochEnded action) { ended.push_back(action); }
  void operator()(LogLine line) {
    (line.level == LogLevel::kError ? errors : lines).push_back(line.text);
  }
  void operator()(GiveUp action) { gave_up.push_back(action.status); }

  // Nodes that got KillEpoch of this epoch.
  std::vector<std::string> Killed(uint64_t epoch) const {
    std::vector<std::string> nodes;
    for (const ToAgent& action : agents) {
      if (action.command.has_kill_epoch() &&
          action.command.kill_epoch().epoch() == epoch) {
        nodes.push_back(action.node);
      }
    }
    return nodes;
  }
};

class ReplicaSupervisorTest : public ::testing::Test {
 protected:
  void Make(int tp, int pp, int num_nodes) {
    SupervisorOptions options;
    options.num_nodes = num_nodes;
    options.max_start_failures = max_start_failures_;
    options.device = device_;
    options.plan =
        [this, tp,
         pp](const std::vector<Node>& nodes) -> absl::StatusOr<v1::EnginePlan> {
      if (!plan_status_.ok()) return plan_status_;
      return Spread(nodes, tp, pp);
    };
    supervisor_ = std::make_unique<ReplicaSupervisor>(options, &clock_);
  }

  Wishes Take() {
    Wishes wishes;
    for (SupervisorAction& action : supervisor_->TakeActions()) {
      std::visit(wishes, std::move(action));
    }
    return wishes;
  }

  void Join(const std::string& name) {
    supervisor_->OnNodeJoined(
        MakeNode(name, absl::StrCat("10.0.0.", name.back() - 'a' + 1, "/24")));
  }

  void Lose(const std::string& name, const std::string& reason) {
    supervisor_->OnNodeLost({.node = MakeNode(name, ""), .reason = reason});
  }

  v1::EngineReport Report(int rank) {
    v1::EngineReport report;
    report.set_epoch(supervisor_->epoch());
    report.set_rank(rank);
    return report;
  }

  absl::Status Hello(int rank) {
    v1::EngineReport report = Report(rank);
    report.mutable_hello()->set_pid(100 + rank);
    report.mutable_hello()->set_node(supervisor_->ranks()[rank].node);
    return supervisor_->OnEngineHello(report);
  }

  void Ready(int rank) {
    v1::EngineReport report = Report(rank);
    report.mutable_ready();
    supervisor_->OnEngineReport(report);
  }

  void Fail(int rank, absl::StatusCode code, const std::string& message) {
    v1::EngineReport report = Report(rank);
    report.mutable_failure()->set_code(static_cast<int>(code));
    report.mutable_failure()->set_message(message);
    supervisor_->OnEngineReport(report);
  }

  void Exit(const std::string& node, const std::string& role, int rank,
            const std::string& reason) {
    v1::AgentReport report;
    v1::ProcessExited* exited = report.mutable_process_exited();
    exited->set_epoch(supervisor_->epoch());
    exited->set_role(role);
    exited->set_rank(rank);
    exited->set_reason(reason);
    supervisor_->OnAgentReport(node, report);
  }

  void Cleared(const std::string& node, uint64_t epoch,
               const std::string& problem = "") {
    v1::AgentReport report;
    report.mutable_epoch_cleared()->set_epoch(epoch);
    report.mutable_epoch_cleared()->set_problem(problem);
    supervisor_->OnAgentReport(node, report);
  }

  void Heartbeat(const std::string& node, int rank, uint64_t step,
                 const std::string& phase, uint64_t ticks) {
    v1::AgentReport report;
    v1::EngineProgress* engine = report.mutable_heartbeat()->add_engines();
    engine->set_epoch(supervisor_->epoch());
    engine->set_rank(rank);
    engine->set_step(step);
    engine->set_phase(phase);
    engine->set_ticks(ticks);
    supervisor_->OnAgentReport(node, report);
  }

  void RunToReady(int num_ranks) {
    for (int rank = 0; rank < num_ranks; ++rank) {
      CARAVAN_ASSERT_OK(Hello(rank));
    }
    for (int rank = 0; rank < num_ranks; ++rank) Ready(rank);
    ASSERT_EQ(supervisor_->state(), ReplicaState::kRunning);
  }

  void PassDiagnosis() {
    clock_.Advance(absl::Milliseconds(500));
    supervisor_->Tick({});
  }

  testing::FakeClock clock_;
  std::string device_ = "cpu";
  int max_start_failures_ = 0;
  absl::Status plan_status_;
  std::unique_ptr<ReplicaSupervisor> supervisor_;
};

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

TEST_F(ReplicaSupervisorTest, AKilledEngineIsNamedAtOnceAndTheReplicaReturns) {
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
}

TEST_F(ReplicaSupervisorTest, WithoutAHeartbeatTheStepInFlightIsNamed) {
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

TEST_F(ReplicaSupervisorTest, ALoneWeakSymptomIsNamedAfterTheDiagnosis) {
  Make(1, 1, 1);
  Join("a");
  RunToReady(1);
  Take();
  supervisor_->OnEngineGone(1, 0);
  PassDiagnosis();
  EXPECT_THAT(Take().errors,
              ElementsAre(HasSubstr("rank 0 on a: its connection")));
}

TEST_F(ReplicaSupervisorTest, TheOddNodeIsNamedWhenItsModelDiffers) {
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

TEST_F(ReplicaSupervisorTest, ALostNodeIsLeftOutAndUsedAgainLater) {
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

TEST_F(ReplicaSupervisorTest, ANodeThatIsNotCleanIsNotUsed) {
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

TEST_F(ReplicaSupervisorTest, EverythingLostWaitsForANode) {
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

TEST_F(ReplicaSupervisorTest, AStoppedRankIsFoundByItsTicks) {
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

TEST_F(ReplicaSupervisorTest, ASilentNodeIsJudgedByItsLeaseNotByTheSteps) {
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

TEST_F(ReplicaSupervisorTest, BackOffDoublesAndBeginsAnewAfterASuccess) {
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

TEST_F(ReplicaSupervisorTest, AnEngineThatNeverReportsIsNamed) {
  Make(2, 1, 1);
  Join("a");
  CARAVAN_ASSERT_OK(Hello(0));
  Take();
  clock_.Advance(absl::Seconds(60));
  supervisor_->Tick({});
  EXPECT_THAT(Take().errors,
              ElementsAre(HasSubstr("rank 1 on a: it did not report")));
}

TEST_F(ReplicaSupervisorTest, ALoadWithoutProgressIsNamed) {
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
