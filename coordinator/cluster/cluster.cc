#include "coordinator/cluster/cluster.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/log.h"
#include "coordinator/cluster/cluster_service.h"
#include "coordinator/cluster/grpc_engine_group.h"
#include "coordinator/cluster/serial_loop.h"

namespace caravan::coordinator {
namespace {

constexpr absl::Duration kViewTimeout = absl::Seconds(5);

void Write(const LogLine& line) {
  switch (line.level) {
    case LogLevel::kDebug:
      return LogDebug(line.text);
    case LogLevel::kInfo:
      return LogInfo(line.text);
    case LogLevel::kWarning:
      return LogWarning(line.text);
    case LogLevel::kError:
      return LogError(line.text);
  }
}

}  // namespace

class Cluster::Impl final : public ClusterServiceHandler {
 public:
  explicit Impl(ClusterOptions options)
      : options_(std::move(options)),
        membership_(
            {.credentials = options_.credentials, .lease = options_.lease},
            options_.clock),
        supervisor_(options_.supervisor, options_.clock),
        loop_(options_.clock) {}

  ~Impl() override { Shutdown(absl::Seconds(3)); }

  absl::Status Start() {
    absl::StatusOr<std::unique_ptr<ClusterService>> service =
        ClusterService::Start(
            {.address = options_.listen_address, .handler = this});
    if (!service.ok()) return service.status();
    service_ = *std::move(service);
    return loop_.Start([this] { return OnWake(); });
  }

  int port() const { return service_->port(); }

  absl::Status WaitUntilReady(absl::Time deadline) {
    absl::MutexLock lock(&mutex_);
    const auto decided = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return ready_ || !gave_up_.ok();
    };
    if (!options_.clock->AwaitWithDeadline(&mutex_, absl::Condition(&decided),
                                           deadline)) {
      return absl::DeadlineExceededError("the engines are not ready yet");
    }
    return gave_up_;
  }

  ClusterView View() {
    auto view = std::make_shared<ClusterView>();
    auto done = std::make_shared<absl::Notification>();
    loop_.Post([this, view, done] {
      FillView(view.get());
      done->Notify();
    });
    if (!done->WaitForNotificationWithTimeout(kViewTimeout)) return {};
    return *view;
  }

  void Shutdown(absl::Duration timeout) {
    {
      absl::MutexLock lock(&mutex_);
      if (shut_down_) return;
      shut_down_ = true;
    }
    if (service_ == nullptr) return;
    const absl::Time deadline = absl::Now() + timeout;
    loop_.Post([this] {
      stopping_ = true;
      supervisor_.Stop();
    });
    // Agents end when the epoch is cleared; see OnWake.
    if (!agents_gone_.WaitForNotificationWithTimeout(timeout)) {
      LogWarning("some agents have not ended in time");
    }
    service_->Shutdown(
        std::max(absl::Milliseconds(100), deadline - absl::Now()));
    loop_.Stop();
  }

  // ClusterServiceHandler, from gRPC's threads.
  void OnAgentReport(StreamId stream, v1::AgentReport report) override {
    loop_.Post([this, stream, report = std::move(report)] {
      HandleAgentReport(stream, report);
    });
  }
  void OnEngineReport(StreamId stream, v1::EngineReport report) override {
    loop_.Post([this, stream, report = std::move(report)] {
      HandleEngineReport(stream, report);
    });
  }
  void OnStreamEnded(StreamId stream) override {
    loop_.Post([this, stream] { HandleStreamEnded(stream); });
  }

 private:
  // Everything below runs on the loop's thread.
  struct EngineStream {
    uint64_t epoch = 0;
    int rank = 0;
  };

  absl::Time OnWake();
  void HandleAgentReport(StreamId stream, const v1::AgentReport& report);
  void Join(StreamId stream, const v1::AgentHello& hello);
  void HandleEngineReport(StreamId stream, const v1::EngineReport& report);
  void Greet(StreamId stream, const v1::EngineReport& report);
  void HandleStepResult(const EngineStream& engine,
                        const v1::StepResult& result);
  void HandleStreamEnded(StreamId stream);
  void Refuse(StreamId stream, const absl::Status& status);
  void Lose(const std::vector<LostNode>& lost);
  void RunActions();
  void Run(const ToAgent& action);
  void Run(const ToEngine& action);
  void Run(const EpochStarted& action);
  void Run(const EpochEnded& action);
  void Run(const LogLine& action) { Write(action); }
  void Run(const GiveUp& action);
  void FillView(ClusterView* view) const;
  void ShutDownAgents();

  const ClusterOptions options_;
  Membership membership_;
  ReplicaSupervisor supervisor_;
  std::map<StreamId, EngineStream> engines_;
  std::set<StreamId> refused_;
  std::unique_ptr<GrpcEngineGroup> group_;
  bool stopping_ = false;
  bool agents_told_ = false;
  absl::Notification agents_gone_;

  absl::Mutex mutex_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status gave_up_ ABSL_GUARDED_BY(mutex_);
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;

  std::unique_ptr<ClusterService> service_;
  SerialLoop loop_;  // last: its thread uses all of the above
};

absl::Time Cluster::Impl::OnWake() {
  const std::vector<LostNode> expired = membership_.Expire();
  for (const LostNode& lost : expired) refused_.insert(lost.node.stream);
  Lose(expired);
  supervisor_.Tick(group_ == nullptr ? StepView{} : group_->Steps());
  RunActions();
  if (stopping_) ShutDownAgents();
  return std::min(membership_.NextExpiry(), supervisor_.NextWake());
}

void Cluster::Impl::ShutDownAgents() {
  if (supervisor_.state() != ReplicaState::kStopped) return;
  const std::vector<Node> nodes = membership_.nodes();
  if (nodes.empty()) {
    if (!agents_gone_.HasBeenNotified()) agents_gone_.Notify();
    return;
  }
  if (std::exchange(agents_told_, true)) return;
  v1::AgentCommand command;
  command.mutable_shutdown();
  for (const Node& node : nodes) service_->Send(node.stream, command);
}

void Cluster::Impl::HandleAgentReport(StreamId stream,
                                      const v1::AgentReport& report) {
  if (refused_.count(stream) != 0) return;
  if (report.has_hello()) return Join(stream, report.hello());
  const Node* node = membership_.FindByStream(stream);
  if (node == nullptr) {
    return Refuse(stream, absl::FailedPreconditionError(
                              "not a member of the cluster: say hello first"));
  }
  const std::string name = node->name;
  membership_.Renew(stream);
  if (report.has_heartbeat()) {
    v1::AgentCommand answer;
    answer.mutable_heartbeat_answer();
    service_->Send(stream, answer);
  }
  supervisor_.OnAgentReport(name, report);
  RunActions();
}

void Cluster::Impl::Join(StreamId stream, const v1::AgentHello& hello) {
  if (stopping_) {
    return Refuse(stream,
                  absl::UnavailableError("the coordinator is shutting down"));
  }
  const Node* known = membership_.FindByName(hello.node());
  const StreamId old = known == nullptr ? 0 : known->stream;
  const absl::Status status = membership_.Join(stream, hello);
  if (!status.ok()) return Refuse(stream, status);
  if (old != 0) {
    // The same agent over a new stream: what it ran before is gone.
    supervisor_.OnNodeLost({.node = *membership_.FindByName(hello.node()),
                            .reason = "its agent connected anew"});
    service_->Close(old, absl::AbortedError("replaced by a newer stream"));
    refused_.insert(old);
  }
  v1::AgentCommand welcome;
  welcome.mutable_welcome()->set_lease_ms(
      absl::ToInt64Milliseconds(options_.lease));
  service_->Send(stream, welcome);
  LogInfo(absl::StrCat("node ", hello.node(), " joined"));
  supervisor_.OnNodeJoined(*membership_.FindByStream(stream));
  RunActions();
}

void Cluster::Impl::HandleEngineReport(StreamId stream,
                                       const v1::EngineReport& report) {
  if (refused_.count(stream) != 0) return;
  const auto it = engines_.find(stream);
  if (it == engines_.end()) return Greet(stream, report);
  const EngineStream& engine = it->second;
  // Stale, or in another rank's name.
  if (report.replica() != options_.supervisor.replica ||
      report.epoch() != engine.epoch || report.rank() != engine.rank) {
    return;
  }
  if (report.has_step_result()) {
    HandleStepResult(engine, report.step_result());
  } else {
    supervisor_.OnEngineReport(report);
  }
  RunActions();
}

void Cluster::Impl::Greet(StreamId stream, const v1::EngineReport& report) {
  if (!report.has_hello()) {
    return Refuse(stream, absl::FailedPreconditionError("say hello first"));
  }
  const v1::EngineHello& hello = report.hello();
  absl::Status status = CheckCredentials(
      options_.credentials,
      {.token = hello.token(), .build_id = hello.build_id()},
      absl::StrCat("an engine of epoch ", report.epoch(), " rank ",
                   report.rank(), " on node ", hello.node()));
  if (status.ok()) status = supervisor_.OnEngineHello(report);
  if (!status.ok()) return Refuse(stream, status);
  engines_[stream] = {.epoch = report.epoch(), .rank = report.rank()};
  RunActions();
}

void Cluster::Impl::HandleStepResult(const EngineStream& engine,
                                     const v1::StepResult& result) {
  if (group_ == nullptr || engine.epoch != group_->info().epoch ||
      result.epoch() != engine.epoch) {
    return;
  }
  const v1::EnginePlan& plan = supervisor_.plan();
  if (engine.rank != (plan.pp() - 1) * plan.tp()) {
    supervisor_.OnStepError(
        absl::InternalError(absl::StrCat("a result of step ", result.number(),
                                         " came from rank ", engine.rank)));
    return;
  }
  group_->OnCompleted(result.number());
  const absl::Status status = options_.listener->OnStepResult(result);
  if (!status.ok()) supervisor_.OnStepError(status);
}

void Cluster::Impl::HandleStreamEnded(StreamId stream) {
  refused_.erase(stream);
  Lose(membership_.Leave(stream, "its agent's connection broke"));
  const auto it = engines_.find(stream);
  if (it != engines_.end()) {
    const EngineStream engine = it->second;
    engines_.erase(it);
    supervisor_.OnEngineGone(engine.epoch, engine.rank);
  }
  RunActions();
}

void Cluster::Impl::Refuse(StreamId stream, const absl::Status& status) {
  LogWarning(absl::StrCat("refused: ", status.message()));
  refused_.insert(stream);
  service_->Close(stream, status);
}

void Cluster::Impl::Lose(const std::vector<LostNode>& lost) {
  for (const LostNode& node : lost) {
    if (!stopping_) {
      LogInfo(absl::StrCat("node ", node.node.name, " left: ", node.reason));
    }
    service_->Close(node.node.stream,
                    absl::UnavailableError("the node's lease is over"));
    supervisor_.OnNodeLost(node);
  }
}

void Cluster::Impl::RunActions() {
  for (const SupervisorAction& action : supervisor_.TakeActions()) {
    std::visit([this](const auto& concrete) { Run(concrete); }, action);
  }
}

void Cluster::Impl::Run(const ToAgent& action) {
  const Node* node = membership_.FindByName(action.node);
  if (node != nullptr) service_->Send(node->stream, action.command);
}

void Cluster::Impl::Run(const ToEngine& action) {
  for (const auto& [stream, engine] : engines_) {
    if (engine.epoch == action.command.epoch() && engine.rank == action.rank) {
      service_->Send({stream}, action.command);
    }
  }
}

void Cluster::Impl::Run(const EpochStarted& action) {
  const v1::EnginePlan& plan = action.plan;
  std::vector<StreamId> streams(plan.ranks_size(), 0);
  for (const auto& [stream, engine] : engines_) {
    if (engine.epoch == plan.epoch()) streams[engine.rank] = stream;
  }
  group_ = std::make_unique<GrpcEngineGroup>(GrpcEngineGroup::Options{
      .info = {.replica = plan.replica(),
               .epoch = plan.epoch(),
               .num_stages = plan.pp(),
               .num_blocks = plan.num_blocks(),
               .max_model_len = plan.max_model_len(),
               .max_rows_per_step = plan.max_rows_per_step(),
               .max_sequences = plan.max_sequences()},
      .engines = std::move(streams),
      .first_seconds_per_row = options_.first_seconds_per_row,
      .service = service_.get(),
      .clock = options_.clock});
  options_.listener->OnEpochStarted(group_.get());
  absl::MutexLock lock(&mutex_);
  ready_ = true;
}

void Cluster::Impl::Run(const EpochEnded& action) {
  {
    absl::MutexLock lock(&mutex_);
    ready_ = false;
  }
  if (group_ != nullptr) {
    group_->End();
    options_.listener->OnEpochEnded(action.status);
    group_.reset();
  }
  for (const auto& [stream, engine] : engines_) {
    if (engine.epoch <= action.epoch) {
      service_->Close(stream, absl::AbortedError("the epoch has ended"));
    }
  }
}

void Cluster::Impl::Run(const GiveUp& action) {
  absl::MutexLock lock(&mutex_);
  if (gave_up_.ok()) gave_up_ = action.status;
}

void Cluster::Impl::FillView(ClusterView* view) const {
  view->state = supervisor_.state();
  view->replica = options_.supervisor.replica;
  view->epoch = supervisor_.epoch();
  view->plan = supervisor_.plan();
  view->nodes = membership_.nodes();
  view->ranks = supervisor_.ranks().ranks();
  view->last_cause = supervisor_.last_cause();
}

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::~Cluster() = default;

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(
    ClusterOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  const absl::Status status = impl->Start();
  if (!status.ok()) return status;
  return std::unique_ptr<Cluster>(new Cluster(std::move(impl)));
}

int Cluster::port() const { return impl_->port(); }

absl::Status Cluster::WaitUntilReady(absl::Time deadline) {
  return impl_->WaitUntilReady(deadline);
}

ClusterView Cluster::View() { return impl_->View(); }

void Cluster::Shutdown(absl::Duration timeout) { impl_->Shutdown(timeout); }

}  // namespace caravan::coordinator
