#include "coordinator/cluster/cluster.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/cluster/cluster_fixture.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(ClusterTest, StepsGoToEveryEngineAndResultsComeBackInOrder) {
  Start(1, 2, 2);
  FakeAgent a(cluster_->port(), "a");
  EXPECT_EQ(Next(a).welcome().lease_ms(), 3000);
  FakeAgent b(cluster_->port(), "b");
  EXPECT_TRUE(Next(b).has_welcome());
  EXPECT_EQ(Next(a).launch_engine().rank(), 0);
  EXPECT_EQ(Next(b).launch_engine().rank(), 1);
  EXPECT_THAT(cluster_->WaitUntilReady(clock_.Now()),
              StatusIs(absl::StatusCode::kDeadlineExceeded));

  FakeEngine first(cluster_->port(), 1, 0, "a");
  FakeEngine last(cluster_->port(), 1, 1, "b");
  EXPECT_EQ(first.Next()->plan().num_blocks(), 10);
  EXPECT_EQ(last.Next()->plan().epoch(), 1u);
  first.SayReady();
  last.SayReady();
  EXPECT_THAT(listener_.Await(1), ElementsAre("started 1"));
  EXPECT_THAT(cluster_->WaitUntilReady(clock_.Now() + kPatience), IsOk());
  EXPECT_EQ(listener_.group()->info().num_stages, 2);

  for (uint64_t number = 1; number <= 50; ++number) {
    v1::Step step;
    step.set_epoch(1);
    step.set_number(number);
    listener_.group()->Issue(step);
  }
  for (uint64_t number = 1; number <= 50; ++number) {
    ASSERT_EQ(first.Next()->step().number(), number);
    ASSERT_EQ(last.Next()->step().number(), number);
    last.SayResult(number);
  }
  const std::vector<std::string> events = listener_.Await(51);
  EXPECT_EQ(events[1], "result 1");
  EXPECT_EQ(events[50], "result 50");

  const ClusterView view = cluster_->View();
  EXPECT_EQ(view.state, ReplicaState::kRunning);
  ASSERT_EQ(view.ranks.size(), 2u);
  EXPECT_EQ(view.ranks[1].node, "b");
  EXPECT_EQ(view.ranks[1].pid, 1001);
}

TEST_F(ClusterTest, AKilledEngineEndsTheEpochAndTheNextOneServes) {
  Start(1, 1, 1);
  FakeAgent a(cluster_->port(), "a");
  Next(a);
  Next(a);
  FakeEngine engine(cluster_->port(), 1, 0, "a");
  engine.Next();
  engine.SayReady();
  listener_.Await(1);
  a.SayExited(1, 0, "killed by signal 9 (Killed)");
  EXPECT_EQ(Next(a).kill_epoch().epoch(), 1u);
  EXPECT_EQ(engine.End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(listener_.Await(2),
              ElementsAre("started 1", "ended UNAVAILABLE"));
  EXPECT_THAT(cluster_->View().last_cause,
              HasSubstr("rank 0 on a: killed by signal 9 (Killed)"));
  a.SayCleared(1);
  while (cluster_->View().state != ReplicaState::kBackingOff) {
  }
  clock_.Advance(absl::Milliseconds(200));
  EXPECT_EQ(Next(a).launch_engine().epoch(), 2u);
  FakeEngine next(cluster_->port(), 2, 0, "a");
  EXPECT_EQ(next.Next()->plan().epoch(), 2u);
  next.SayReady();
  EXPECT_EQ(listener_.Await(3)[2], "started 2");
}

TEST_F(ClusterTest, ResultsOfAnotherEpochOrRankDoNotCount) {
  Start(2, 1, 1);
  FakeAgent a(cluster_->port(), "a");
  for (int i = 0; i < 3; ++i) Next(a);
  FakeEngine engine(cluster_->port(), 1, 0, "a");
  FakeEngine other(cluster_->port(), 1, 1, "a");
  engine.Next();
  other.Next();
  engine.SayReady();
  other.SayReady();
  listener_.Await(1);
  v1::EngineReport stale = engine.Report();
  stale.mutable_step_result()->set_epoch(0);
  stale.mutable_step_result()->set_number(7);
  engine.Send(stale);
  stale.set_epoch(0);
  engine.Send(stale);
  stale.set_epoch(1);
  stale.set_rank(1);
  engine.Send(stale);
  engine.SayResult(1);
  EXPECT_THAT(listener_.Await(2), ElementsAre("started 1", "result 1"));
}

TEST_F(ClusterTest, AResultThatTheSchedulerRefusesEndsTheEpoch) {
  Start(1, 1, 1);
  FakeAgent a(cluster_->port(), "a");
  Next(a);
  Next(a);
  FakeEngine engine(cluster_->port(), 1, 0, "a");
  engine.Next();
  engine.SayReady();
  listener_.Await(1);
  engine.SayResult(99);
  while (cluster_->View().state != ReplicaState::kDiagnosing) {
  }
  clock_.Advance(absl::Milliseconds(500));
  EXPECT_TRUE(Next(a).has_kill_epoch());
  EXPECT_THAT(listener_.Await(3),
              ElementsAre("started 1", "result 99", "ended UNAVAILABLE"));
}

TEST_F(ClusterTest, ASilentAgentLosesItsLease) {
  Start(1, 1, 1);
  FakeAgent a(cluster_->port(), "a");
  Next(a);
  Next(a);
  FakeEngine engine(cluster_->port(), 1, 0, "a");
  engine.Next();
  engine.SayReady();
  listener_.Await(1);
  clock_.Advance(absl::Seconds(2));
  v1::AgentReport heartbeat;
  heartbeat.mutable_heartbeat();
  a.Send(heartbeat);
  EXPECT_TRUE(a.Next()->has_heartbeat_answer());
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(cluster_->View().nodes.size(), 1u);
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(listener_.Await(2),
              ElementsAre("started 1", "ended UNAVAILABLE"));
  EXPECT_THAT(cluster_->View().last_cause,
              HasSubstr("node a: no heartbeat of its agent for 3s"));
  EXPECT_EQ(a.End().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ClusterTest, ALostStreamOfAnAgentIsItsLoss) {
  Start(1, 1, 1);
  auto a = std::make_unique<FakeAgent>(cluster_->port(), "a");
  Next(*a);
  Next(*a);
  FakeEngine engine(cluster_->port(), 1, 0, "a");
  engine.Next();
  engine.SayReady();
  listener_.Await(1);
  a.reset();
  EXPECT_THAT(listener_.Await(2),
              ElementsAre("started 1", "ended UNAVAILABLE"));
  EXPECT_THAT(cluster_->View().last_cause, HasSubstr("node a: its agent's"));
}

TEST_F(ClusterTest, ShutdownKillsTheEpochThenEndsTheAgents) {
  Start(1, 1, 1);
  auto a = std::make_unique<FakeAgent>(cluster_->port(), "a");
  Next(*a);
  Next(*a);
  FakeEngine engine(cluster_->port(), 1, 0, "a");
  engine.Next();
  engine.SayReady();
  listener_.Await(1);
  std::thread shutdown([&] { cluster_->Shutdown(kPatience); });
  EXPECT_EQ(Next(*a).kill_epoch().epoch(), 1u);
  EXPECT_EQ(FakeAgent(cluster_->port(), "b").End().error_code(),
            grpc::StatusCode::UNAVAILABLE);
  a->SayCleared(1);
  EXPECT_TRUE(Next(*a).has_shutdown());
  EXPECT_THAT(listener_.Await(2),
              ElementsAre("started 1", "ended UNAVAILABLE"));
  const absl::Time before = absl::Now();
  a.reset();
  shutdown.join();
  EXPECT_LT(absl::Now() - before, kPatience / 2);
}

TEST_F(ClusterTest, ASecondServerOnTheSamePortIsRefused) {
  Start(1, 1, 1);
  ClusterOptions options;
  options.listen_address = absl::StrCat("127.0.0.1:", cluster_->port());
  options.listener = &listener_;
  options.clock = &clock_;
  EXPECT_THAT(Cluster::Start(options).status(),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr(options.listen_address)));
}

}  // namespace
}  // namespace caravan::coordinator
