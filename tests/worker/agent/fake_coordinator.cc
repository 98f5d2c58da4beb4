#include "tests/worker/agent/fake_coordinator.h"

#include <grpcpp/grpcpp.h>

#include <list>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/grpc_status.h"
#include "caravan/v1/agent.grpc.pb.h"

namespace caravan::worker {

using Stream = grpc::ServerReaderWriter<v1::AgentCommand, v1::AgentReport>;

class FakeCoordinator::Service final : public v1::AgentControl::Service {
 public:
  explicit Service(Options options) : options_(std::move(options)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    CARAVAN_CHECK(server_ != nullptr && port_ > 0);
  }
  ~Service() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override {
    v1::AgentReport report;
    if (!stream->Read(&report) || !report.has_hello()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "no hello"};
    }
    if (!options_.refusal.ok()) return ToGrpcStatus(options_.refusal);
    const std::string node = report.hello().node();
    {
      absl::MutexLock lock(&mutex_);
      attached_[node] = {context, stream};
      ++num_hellos_[node];
    }
    v1::AgentCommand welcome;
    welcome.mutable_welcome()->set_lease_ms(options_.lease_ms);
    Send(node, welcome);
    do {
      Receive(node, std::move(report));
    } while (stream->Read(&report));
    absl::MutexLock lock(&mutex_);
    if (attached_[node].stream == stream) attached_.erase(node);
    return grpc::Status::OK;
  }

  void Receive(const std::string& node, v1::AgentReport report) {
    if (report.has_heartbeat()) Answer(node);
    if (report.has_relay_request()) Route(node, report.relay_request());
    if (report.has_daemon_started()) RouteBack(report.daemon_started());
    absl::MutexLock lock(&mutex_);
    reports_.emplace_back(node, std::move(report));
  }

  void Answer(const std::string& node) {
    {
      absl::MutexLock lock(&mutex_);
      if (silent_) return;
    }
    v1::AgentCommand answer;
    answer.mutable_heartbeat_answer();
    Send(node, answer);
  }

  void Route(const std::string& from, const v1::RelayRequest& request) {
    v1::AgentCommand command;
    v1::StartDaemon& start = *command.mutable_start_daemon();
    start.set_replica(request.replica());
    start.set_epoch(request.epoch());
    *start.mutable_arguments() = request.arguments();
    {
      absl::MutexLock lock(&mutex_);
      start.set_request(++next_route_);
      routes_[next_route_] = {from, request.request()};
    }
    Send(request.target_node(), command);
  }

  void RouteBack(const v1::DaemonStarted& started) {
    v1::AgentCommand command;
    v1::RelayAnswer& answer = *command.mutable_relay_answer();
    answer.set_code(started.code());
    answer.set_message(started.message());
    std::string to;
    {
      absl::MutexLock lock(&mutex_);
      to = routes_[started.request()].first;
      answer.set_request(routes_[started.request()].second);
    }
    Send(to, command);
  }

  void Send(const std::string& node, const v1::AgentCommand& command) {
    absl::MutexLock lock(&mutex_);
    const auto found = attached_.find(node);
    if (found != attached_.end()) found->second.stream->Write(command);
  }

  struct Attached {
    grpc::ServerContext* context = nullptr;
    Stream* stream = nullptr;
  };

  const Options options_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  mutable absl::Mutex mutex_;
  bool silent_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, Attached> attached_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> num_hellos_ ABSL_GUARDED_BY(mutex_);
  std::list<std::pair<std::string, v1::AgentReport>> reports_
      ABSL_GUARDED_BY(mutex_);
  uint64_t next_route_ ABSL_GUARDED_BY(mutex_) = 100;
  std::map<uint64_t, std::pair<std::string, uint64_t>> routes_
      ABSL_GUARDED_BY(mutex_);
};

FakeCoordinator::FakeCoordinator(Options options)
    : service_(std::make_unique<Service>(std::move(options))) {}
FakeCoordinator::~FakeCoordinator() = default;

std::string FakeCoordinator::address() const {
  const std::string& listen = service_->options_.listen;
  return absl::StrCat(listen.substr(0, listen.rfind(':')), ":",
                      service_->port_);
}

void FakeCoordinator::Send(const std::string& node, v1::AgentCommand command) {
  service_->Send(node, command);
}

void FakeCoordinator::FallSilent() {
  absl::MutexLock lock(&service_->mutex_);
  service_->silent_ = true;
}

void FakeCoordinator::Drop(const std::string& node) {
  absl::MutexLock lock(&service_->mutex_);
  const auto found = service_->attached_.find(node);
  if (found != service_->attached_.end()) found->second.context->TryCancel();
}

int FakeCoordinator::num_hellos(const std::string& node) const {
  absl::MutexLock lock(&service_->mutex_);
  const auto found = service_->num_hellos_.find(node);
  return found == service_->num_hellos_.end() ? 0 : found->second;
}

std::optional<v1::AgentReport> FakeCoordinator::Await(const std::string& node,
                                                      const Predicate& fits,
                                                      absl::Duration timeout) {
  absl::MutexLock lock(&service_->mutex_);
  auto& reports = service_->reports_;
  auto found = reports.end();
  const auto arrived = [&] {
    service_->mutex_.AssertHeld();
    for (found = reports.begin(); found != reports.end(); ++found) {
      if (found->first == node && fits(found->second)) return true;
    }
    return false;
  };
  if (!service_->mutex_.AwaitWithTimeout(absl::Condition(&arrived), timeout)) {
    return std::nullopt;
  }
  v1::AgentReport report = std::move(found->second);
  reports.erase(found);
  return report;
}

bool FakeCoordinator::AwaitHello(const std::string& node) {
  return Await(node,
               [](const v1::AgentReport& report) { return report.has_hello(); })
      .has_value();
}

bool FakeCoordinator::AwaitGone(const std::string& node,
                                absl::Duration timeout) {
  absl::MutexLock lock(&service_->mutex_);
  const auto gone = [&] {
    service_->mutex_.AssertHeld();
    return service_->attached_.count(node) == 0;
  };
  return service_->mutex_.AwaitWithTimeout(absl::Condition(&gone), timeout);
}

}  // namespace caravan::worker
