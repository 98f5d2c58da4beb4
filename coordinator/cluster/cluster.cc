#include "coordinator/cluster/cluster.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "coordinator/cluster/cluster_impl.h"

namespace caravan::coordinator {
namespace {

constexpr absl::Duration kViewTimeout = absl::Seconds(5);
constexpr absl::Duration kHelloTimeout = absl::Seconds(5);

}  // namespace

absl::Status Cluster::Impl::Start() {
  absl::StatusOr<std::unique_ptr<ClusterService>> service =
      ClusterService::Start(
          {.address = options_.listen_address, .handler = this});
  if (!service.ok()) return service.status();
  service_ = *std::move(service);
  return loop_.Start([this] { return OnWake(); });
}

absl::Status Cluster::Impl::WaitUntilReady(absl::Time deadline) {
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

ClusterView Cluster::Impl::View() {
  auto view = std::make_shared<ClusterView>();
  auto done = std::make_shared<absl::Notification>();
  loop_.Post([this, view, done] {
    FillView(view.get());
    done->Notify();
  });
  if (!done->WaitForNotificationWithTimeout(kViewTimeout)) return {};
  return *view;
}

void Cluster::Impl::Shutdown(absl::Duration timeout) {
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
  service_->Shutdown(std::max(absl::Milliseconds(100), deadline - absl::Now()));
  loop_.Stop();
}

absl::Time Cluster::Impl::OnWake() {
  const std::vector<LostNode> expired = membership_.Expire();
  for (const LostNode& lost : expired) refused_.insert(lost.node.stream);
  Lose(expired);
  supervisor_.Tick(group_ == nullptr ? StepView{} : group_->Steps());
  RunActions();
  if (stopping_) ShutDownAgents();
  return std::min({RefuseSilentStrangers(), membership_.NextExpiry(),
                   supervisor_.NextWake()});
}

// Returns when to look again.
absl::Time Cluster::Impl::RefuseSilentStrangers() {
  const absl::Time now = options_.clock->Now();
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [stream, opened] : std::map(strangers_)) {
    if (now - opened >= kHelloTimeout) {
      Refuse(stream, absl::DeadlineExceededError(
                         absl::StrCat("a peer has not said hello within ",
                                      absl::FormatDuration(kHelloTimeout))));
    } else {
      next = std::min(next, opened + kHelloTimeout);
    }
  }
  return next;
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
  strangers_.erase(stream);
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
  strangers_.erase(stream);
  const std::optional<EngineStream> engine = engines_.Find(stream);
  if (!engine.has_value()) return Greet(stream, report);
  // Stale, or in another rank's name.
  if (report.replica() != options_.supervisor.replica ||
      report.epoch() != engine->epoch || report.rank() != engine->rank) {
    return;
  }
  if (report.has_step_result()) {
    HandleStepResult(*engine, report.step_result());
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
  engines_.Add(stream, {.epoch = report.epoch(), .rank = report.rank()});
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
  strangers_.erase(stream);
  Lose(membership_.Leave(stream, "its agent's connection broke"));
  const std::optional<EngineStream> engine = engines_.Remove(stream);
  if (engine.has_value()) {
    supervisor_.OnEngineGone(engine->epoch, engine->rank);
  }
  RunActions();
}

void Cluster::Impl::Refuse(StreamId stream, const absl::Status& status) {
  LogWarning(absl::StrCat("refused: ", status.message()));
  strangers_.erase(stream);
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
