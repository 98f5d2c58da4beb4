#include "coordinator/cluster/cluster.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "caravan/v1/agent.grpc.pb.h"
#include "caravan/v1/engine.grpc.pb.h"
#include "coordinator/cluster/placement.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);

// A synchronous client stream of either service; reads give up with the
// context's deadline.
template <typename Service, typename Report, typename Command>
class Peer {
 public:
  explicit Peer(int port) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = Service::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials(),
        arguments));
    stream_ = stub_->Attach(&context_);
  }
  ~Peer() {
    context_.TryCancel();
    if (!ended_) stream_->Finish();
  }

  void Send(const Report& report) { stream_->Write(report); }

  // The next command; none when the stream has ended.
  std::optional<Command> Next() {
    Command command;
    if (!stream_->Read(&command)) return std::nullopt;
    return command;
  }

  // Reads to the end of the stream.
  grpc::Status End() {
    while (Next().has_value()) {
    }
    ended_ = true;
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<typename Service::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<Report, Command>> stream_;
  bool ended_ = false;
};

class FakeAgent
    : public Peer<v1::AgentControl, v1::AgentReport, v1::AgentCommand> {
 public:
  FakeAgent(int port, const std::string& node,
            const std::string& token = "secret",
            const std::string& build = "b1")
      : Peer(port) {
    v1::AgentReport report;
    v1::AgentHello* hello = report.mutable_hello();
    hello->set_token(token);
    hello->set_build_id(build);
    hello->set_node(node);
    hello->set_incarnation(absl::StrCat("of ", node));
    hello->set_data_address("10.0.0.1/24");
    v1::Device* device = hello->add_devices();
    device->set_kind("cpu");
    device->set_num_cores(2);
    Send(report);
  }

  void SayCleared(uint64_t epoch) {
    v1::AgentReport report;
    report.mutable_epoch_cleared()->set_epoch(epoch);
    Send(report);
  }
  void SayExited(uint64_t epoch, int rank, const std::string& reason) {
    v1::AgentReport report;
    report.mutable_process_exited()->set_epoch(epoch);
    report.mutable_process_exited()->set_role("engine");
    report.mutable_process_exited()->set_rank(rank);
    report.mutable_process_exited()->set_reason(reason);
    Send(report);
  }
};

class FakeEngine
    : public Peer<v1::EngineControl, v1::EngineReport, v1::EngineCommand> {
 public:
  FakeEngine(int port, uint64_t epoch, int rank, const std::string& node,
             const std::string& token = "secret",
             const std::string& build = "b1")
      : Peer(port), epoch_(epoch), rank_(rank) {
    v1::EngineReport report = Report();
    report.mutable_hello()->set_token(token);
    report.mutable_hello()->set_build_id(build);
    report.mutable_hello()->set_node(node);
    report.mutable_hello()->set_pid(1000 + rank);
    Send(report);
  }

  v1::EngineReport Report() const {
    v1::EngineReport report;
    report.set_epoch(epoch_);
    report.set_rank(rank_);
    return report;
  }
  void SayReady() {
    v1::EngineReport report = Report();
    report.mutable_ready();
    Send(report);
  }
  void SayResult(uint64_t number) {
    v1::EngineReport report = Report();
    report.mutable_step_result()->set_epoch(epoch_);
    report.mutable_step_result()->set_number(number);
    Send(report);
  }

 private:
  const uint64_t epoch_;
  const int rank_;
};

// Writes down what it hears.
class RecordingListener final : public EpochListener {
 public:
  void OnEpochStarted(EngineGroup* group) override {
    absl::MutexLock lock(&mutex_);
    group_ = group;
    events_.push_back(absl::StrCat("started ", group->info().epoch));
  }
  absl::Status OnStepResult(const v1::StepResult& result) override {
    absl::MutexLock lock(&mutex_);
    events_.push_back(absl::StrCat("result ", result.number()));
    return result.number() == 99 ? absl::InternalError("gap in the numbers")
                                 : absl::OkStatus();
  }
  void OnEpochEnded(const absl::Status& cause) override {
    absl::MutexLock lock(&mutex_);
    group_ = nullptr;
    events_.push_back(
        absl::StrCat("ended ", absl::StatusCodeToString(cause.code())));
  }

  // Blocks until so many events were heard.
  std::vector<std::string> Await(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return events_.size() >= count;
    };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), kPatience);
    return events_;
  }
  EngineGroup* group() {
    absl::MutexLock lock(&mutex_);
    return group_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
  EngineGroup* group_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

class ClusterTest : public ::testing::Test {
 protected:
  void Start(int tp, int pp, int num_nodes) {
    ClusterOptions options;
    options.credentials = {.token = "secret", .build_id = "b1"};
    options.listener = &listener_;
    options.clock = &clock_;
    options.supervisor.num_nodes = num_nodes;
    options.supervisor.device = "simulated";
    options.supervisor.plan =
        [tp,
         pp](const std::vector<Node>& nodes) -> absl::StatusOr<v1::EnginePlan> {
      const auto placement =
          PlaceRanks(nodes, {.tp = tp, .pp = pp, .device = "simulated"});
      if (!placement.ok()) return placement.status();
      v1::EnginePlan plan;
      plan.set_tp(tp);
      plan.set_pp(pp);
      plan.set_num_blocks(10);
      for (const RankPlacement& rank : *placement) {
        v1::RankPlan* out = plan.add_ranks();
        out->set_rank(plan.ranks_size() - 1);
        out->set_node(rank.device.node);
      }
      return plan;
    };
    auto cluster = Cluster::Start(options);
    CARAVAN_ASSERT_OK(cluster.status());
    cluster_ = *std::move(cluster);
  }

  void TearDown() override {
    if (cluster_ != nullptr) cluster_->Shutdown(absl::Milliseconds(100));
  }

  // The next command that is no answer to a heartbeat.
  static v1::AgentCommand Next(FakeAgent& agent) {
    while (true) {
      std::optional<v1::AgentCommand> command = agent.Next();
      if (!command.has_value()) {
        ADD_FAILURE() << "the agent's stream has ended";
        return {};
      }
      if (!command->has_heartbeat_answer()) return *std::move(command);
    }
  }

  testing::FakeClock clock_;
  RecordingListener listener_;
  std::unique_ptr<Cluster> cluster_;
  std::atomic<bool> stranger_is_gone_ = false;
};

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

TEST_F(ClusterTest, WrongTokenBuildAndNameAreRefusedByCode) {
  Start(1, 1, 9);
  EXPECT_EQ(FakeAgent(cluster_->port(), "a", "wrong").End().error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  const grpc::Status build =
      FakeAgent(cluster_->port(), "a", "secret", "b2").End();
  EXPECT_EQ(build.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(build.error_message(), HasSubstr("node a runs build b2"));
  FakeAgent good(cluster_->port(), "a");
  EXPECT_TRUE(Next(good).has_welcome());
  FakeAgent same(cluster_->port(), "a");  // the same agent again
  EXPECT_TRUE(Next(same).has_welcome());
  EXPECT_EQ(good.End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(cluster_->View().nodes.size(), 1u);
}

TEST_F(ClusterTest, ReportsBeforeHelloAndGarbageEndTheStream) {
  Start(1, 1, 1);
  class Silent
      : public Peer<v1::AgentControl, v1::AgentReport, v1::AgentCommand> {
   public:
    using Peer::Peer;
  };
  Silent agent(cluster_->port());
  v1::AgentReport heartbeat;
  heartbeat.mutable_heartbeat();
  agent.Send(heartbeat);
  EXPECT_EQ(agent.End().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  Silent empty(cluster_->port());
  empty.Send({});
  EXPECT_EQ(empty.End().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(cluster_->View().nodes, ::testing::IsEmpty());
}

TEST_F(ClusterTest, AStreamWithoutHelloIsEnded) {
  Start(1, 1, 1);
  grpc::ClientContext context;
  const auto stub = v1::EngineControl::NewStub(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", cluster_->port()),
                          grpc::InsecureChannelCredentials()));
  const auto stream = stub->Attach(&context);
  FakeAgent member(cluster_->port(), "a");
  Next(member);
  std::thread time([this] {
    // The stream may not have been seen yet when the clock first moves.
    while (!stranger_is_gone_) {
      clock_.Advance(absl::Milliseconds(100));
      cluster_->View();
    }
  });
  v1::EngineCommand command;
  EXPECT_FALSE(stream->Read(&command));
  stranger_is_gone_ = true;
  time.join();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(ClusterTest, EnginesAreRefusedByTokenBuildEpochAndNode) {
  Start(1, 1, 1);
  FakeAgent a(cluster_->port(), "a");
  Next(a);
  EXPECT_TRUE(Next(a).has_launch_engine());
  const int port = cluster_->port();
  EXPECT_EQ(FakeEngine(port, 1, 0, "a", "wrong").End().error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(FakeEngine(port, 1, 0, "a", "secret", "b2").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(FakeEngine(port, 0, 0, "a").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(FakeEngine(port, 1, 0, "b").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(FakeEngine(port, 1, 1, "a").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  FakeEngine engine(port, 1, 0, "a");
  EXPECT_TRUE(engine.Next()->has_plan());
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
