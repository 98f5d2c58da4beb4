#include "worker/engine/executor_factory.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/engine/model_executor.h"
#include "worker/engine/simulated_executor.h"

namespace caravan::worker {
namespace {

// Resident memory of this process (second field of /proc/self/statm).
int64_t ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  long long total = 0;
  long long resident = 0;
  const int found = std::fscanf(file, "%lld %lld", &total, &resident);
  std::fclose(file);
  return found == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace

absl::StatusOr<RunningExecutor> ExecutorFactory::Create() const {
  if (rank < 0 || rank >= plan->ranks_size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the plan has no such rank: rank=", rank,
                     " ranks=", plan->ranks_size()));
  }
  RunningExecutor running;
  if (device == "simulated") {
    CARAVAN_ASSIGN_OR_RETURN(running.executor,
                             SimulatedExecutor::Create(*plan));
    return running;
  }
  if (device != platform->device()) {
    return absl::UnimplementedError(absl::StrCat(
        "this engine computes on ", platform->device(), ", not on ", device));
  }
  CARAVAN_RETURN_IF_ERROR(OpenSource(&running));
  const RankSetup setup = {.plan = plan, .rank = rank, .under_mpi = under_mpi};
  CARAVAN_ASSIGN_OR_RETURN(running.backend, platform->CreateBackend(setup));
  CARAVAN_ASSIGN_OR_RETURN(running.world,
                           platform->JoinWorld(setup, *running.backend));
  CARAVAN_ASSIGN_OR_RETURN(
      running.executor,
      ModelExecutor::Create({.plan = plan,
                             .rank = rank,
                             .source = running.source.get(),
                             .backend = running.backend.get(),
                             .world = running.world.get(),
                             .progress = progress,
                             .on_load_progress = on_load_progress}));
  const DeviceInfo info = running.backend->Info();
  running.ready.set_resident_bytes(ResidentBytes());
  running.ready.set_instruction_set(info.instruction_set);
  running.ready.set_num_threads(info.num_threads);
  return running;
}

absl::Status ExecutorFactory::OpenSource(RunningExecutor* running) const {
  const v1::ModelLocation& model = plan->model();
  partition::ModelSourceOptions options{.path = model.path(),
                                        .seed = model.seed(),
                                        .hf_overrides = model.hf_overrides()};
  if (model.load_format() == "dummy") {
    options.load_format = partition::LoadFormat::kDummy;
  }
  CARAVAN_ASSIGN_OR_RETURN(running->source, partition::OpenModel(options));
  const std::string fingerprint = running->source->Fingerprint();
  if (fingerprint != model.fingerprint()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "another model lies at ", model.path(), " on node ",
        plan->ranks(rank).node(), ": its fingerprint is ", fingerprint,
        ", the coordinator's is ", model.fingerprint()));
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker
