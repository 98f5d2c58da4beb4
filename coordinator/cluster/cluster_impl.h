// The inside of Cluster, for its .cc files alone.
#ifndef CARAVAN_COORDINATOR_CLUSTER_CLUSTER_IMPL_H_
#define CARAVAN_COORDINATOR_CLUSTER_CLUSTER_IMPL_H_

#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/cluster_service.h"
#include "coordinator/cluster/engine_streams.h"
#include "coordinator/cluster/grpc_engine_group.h"
#include "coordinator/cluster/serial_loop.h"

namespace caravan::coordinator {

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

  absl::Status Start();

  int port() const { return service_->port(); }

  absl::Status WaitUntilReady(absl::Time deadline);

  ClusterView View();

  void Shutdown(absl::Duration timeout);

  // ClusterServiceHandler, from gRPC's threads.
  void OnStreamOpened(StreamId stream) override {
    loop_.Post([this, stream] { strangers_[stream] = options_.clock->Now(); });
  }
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
  absl::Time OnWake();
  absl::Time RefuseSilentStrangers();
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
  void Run(const LogLine& action);
  void Run(const GiveUp& action);
  void FillView(ClusterView* view) const;
  void ShutDownAgents();

  const ClusterOptions options_;
  Membership membership_;
  ReplicaSupervisor supervisor_;
  // Streams that have said nothing yet, and since when.
  std::map<StreamId, absl::Time> strangers_;
  EngineStreams engines_;
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

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_CLUSTER_IMPL_H_
