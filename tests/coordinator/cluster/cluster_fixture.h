// The real services, with agents and engines that are gRPC clients of the test.
#ifndef CARAVAN_TESTS_COORDINATOR_CLUSTER_CLUSTER_FIXTURE_H_
#define CARAVAN_TESTS_COORDINATOR_CLUSTER_CLUSTER_FIXTURE_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "caravan/v1/agent.grpc.pb.h"
#include "caravan/v1/engine.grpc.pb.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/placement.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {

inline constexpr absl::Duration kPatience = absl::Seconds(30);

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
        out->set_device(rank.device_kind);
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
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_TESTS_COORDINATOR_CLUSTER_CLUSTER_FIXTURE_H_
