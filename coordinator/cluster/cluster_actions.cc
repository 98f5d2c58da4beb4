// What Cluster does when its supervisor wants something done.
#include <memory>
#include <utility>
#include <variant>

#include "base/log.h"
#include "coordinator/cluster/cluster_impl.h"

namespace caravan::coordinator {

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
  const std::vector<StreamId> streams =
      engines_.OfEpoch(action.command.epoch(), action.rank + 1);
  service_->Send({streams[action.rank]}, action.command);
}

void Cluster::Impl::Run(const EpochStarted& action) {
  const v1::EnginePlan& plan = action.plan;
  group_ = std::make_unique<GrpcEngineGroup>(GrpcEngineGroup::Options{
      .info = {.replica = plan.replica(),
               .epoch = plan.epoch(),
               .num_stages = plan.pp(),
               .num_blocks = plan.num_blocks(),
               .max_model_len = plan.max_model_len(),
               .max_rows_per_step = plan.max_rows_per_step(),
               .max_sequences = plan.max_sequences()},
      .engines = engines_.OfEpoch(plan.epoch(), plan.ranks_size()),
      .first_seconds_per_row = options_.first_seconds_per_row,
      .least_allowance = options_.stall_timeout,
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
  for (const StreamId stream : engines_.UpToEpoch(action.epoch)) {
    service_->Close(stream, absl::AbortedError("the epoch has ended"));
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

void Cluster::Impl::Run(const LogLine& action) {
  Log(action.level, action.text);
}

}  // namespace caravan::coordinator
