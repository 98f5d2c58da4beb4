// The engines of one epoch behind their gRPC streams.
#ifndef CARAVAN_COORDINATOR_CLUSTER_GRPC_ENGINE_GROUP_H_
#define CARAVAN_COORDINATOR_CLUSTER_GRPC_ENGINE_GROUP_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "coordinator/cluster/cluster_service.h"
#include "coordinator/cluster/step_watch.h"
#include "coordinator/schedule/engine_group.h"

namespace caravan::coordinator {

// Thread-safe. Made when all engines are ready, of no use after End.
class GrpcEngineGroup final : public EngineGroup {
 public:
  struct Options {
    EngineGroupInfo info;
    std::vector<StreamId> engines;      // by rank
    double first_seconds_per_row = 0;   // see StepWatch
    absl::Duration least_allowance;     // see StepWatch
    ClusterService* service = nullptr;  // outlives this, as does
    Clock* clock = nullptr;
  };
  explicit GrpcEngineGroup(const Options& options)
      : options_(options),
        watch_(options.first_seconds_per_row, options.least_allowance) {}

  const EngineGroupInfo& info() const override { return options_.info; }
  void Issue(const v1::Step& step) override;

  // A result has come.
  void OnCompleted(uint64_t step);
  // Steps are dropped from here on.
  void End();

  StepView Steps() const;

 private:
  const Options options_;
  mutable absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  StepWatch watch_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_GRPC_ENGINE_GROUP_H_
