#include "coordinator/cluster/grpc_engine_group.h"

#include <algorithm>

#include "caravan/v1/engine.pb.h"

namespace caravan::coordinator {
namespace {

int64_t CountRows(const v1::Step& step) {
  int64_t rows = 0;
  for (const v1::StepEntry& entry : step.entries()) {
    rows += std::max(1, entry.ids_size());
  }
  return rows;
}

}  // namespace

void GrpcEngineGroup::Issue(const v1::Step& step) {
  v1::EngineCommand command;
  command.set_replica(options_.info.replica);
  command.set_epoch(options_.info.epoch);
  *command.mutable_step() = step;
  // Under the lock, so that every stream gets the steps in one order; sending
  // only queues.
  absl::MutexLock lock(&mutex_);
  if (ended_) return;
  watch_.OnIssued(step.number(), CountRows(step), options_.clock->Now());
  options_.service->Send(options_.engines, command);
}

void GrpcEngineGroup::OnCompleted(uint64_t step) {
  absl::MutexLock lock(&mutex_);
  watch_.OnCompleted(step, options_.clock->Now());
}

void GrpcEngineGroup::End() {
  absl::MutexLock lock(&mutex_);
  ended_ = true;
}

StepView GrpcEngineGroup::Steps() const {
  absl::MutexLock lock(&mutex_);
  return ended_ ? StepView{} : watch_.View();
}

}  // namespace caravan::coordinator
