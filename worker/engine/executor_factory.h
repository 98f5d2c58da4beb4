// Makes the executor that a plan asks for, with the devices under it.
#ifndef CARAVAN_WORKER_ENGINE_EXECUTOR_FACTORY_H_
#define CARAVAN_WORKER_ENGINE_EXECUTOR_FACTORY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/progress_page.h"
#include "caravan/v1/engine.pb.h"
#include "caravan/v1/plan.pb.h"
#include "partition/model/model_source.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/engine/platform.h"
#include "worker/engine/step_executor.h"

namespace caravan::worker {

// An executor and what it stands on.
struct RunningExecutor {
  std::unique_ptr<partition::ModelSource> source;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<World> world;
  std::unique_ptr<StepExecutor> executor;
  v1::EngineReady ready;
};

struct ExecutorFactory {
  const v1::EnginePlan* plan = nullptr;
  int rank = 0;
  Platform* platform = nullptr;
  std::string device;  // the platform's, or "simulated"
  bool under_mpi = false;
  ProgressWriter* progress = nullptr;  // may be null
  std::function<void(int64_t loaded, int64_t total)> on_load_progress;

  // Blocks while it joins the other ranks and loads. kFailedPrecondition:
  // another model than the coordinator's lies here. kUnimplemented: an unknown
  // device.
  absl::StatusOr<RunningExecutor> Create() const;

 private:
  absl::Status OpenSource(RunningExecutor* running) const;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_EXECUTOR_FACTORY_H_
