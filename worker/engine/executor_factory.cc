#include "worker/engine/executor_factory.h"

#include <unistd.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/cpu/topology.h"
#include "worker/comm/local/local_world.h"
#include "worker/comm/mpi/mpi_world.h"
#include "worker/engine/model_executor.h"
#include "worker/engine/simulated_executor.h"

namespace caravan::worker {
namespace {

constexpr absl::Duration kJoinTimeout = absl::Seconds(60);

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

// Cores for this rank's threads, after those of the ranks before it on its
// node; empty (not pinned) where the node has fewer cores than threads.
absl::StatusOr<std::vector<int>> Processors(const v1::EnginePlan& plan,
                                            int rank) {
  const v1::RankPlan& mine = plan.ranks(rank);
  int first = 0;
  int total = 0;
  for (const v1::RankPlan& other : plan.ranks()) {
    if (other.node() != mine.node()) continue;
    if (other.rank() < rank) first += other.num_threads();
    total += other.num_threads();
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int> all, CoresForThreads(0, total));
  if (all.empty()) return all;
  return CoresForThreads(first, mine.num_threads());
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
  if (device != "cpu") {
    return absl::UnimplementedError(
        absl::StrCat("this engine has no such device: ", device));
  }
  CARAVAN_RETURN_IF_ERROR(OpenSource(&running));
  CARAVAN_RETURN_IF_ERROR(JoinWorld(&running));
  CARAVAN_RETURN_IF_ERROR(CreateBackend(&running));
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

absl::Status ExecutorFactory::JoinWorld(RunningExecutor* running) const {
  const int size = plan->ranks_size();
  if (size == 1) {
    running->world = std::move(CreateLocalWorlds(1)[0]);
    return absl::OkStatus();
  }
  if (!under_mpi) {
    return absl::FailedPreconditionError(
        absl::StrCat("a replica of ", size,
                     " CPU ranks needs mpirun, and this engine was "
                     "started without it"));
  }
  CARAVAN_ASSIGN_OR_RETURN(running->world,
                           CreateMpiWorld({.init_timeout = kJoinTimeout}));
  if (running->world->size() != size || running->world->rank() != rank) {
    return absl::FailedPreconditionError(absl::StrCat(
        "MPI's world is not the plan's: rank=", running->world->rank(), " of ",
        running->world->size(), ", planned ", rank, " of ", size));
  }
  return absl::OkStatus();
}

absl::Status ExecutorFactory::CreateBackend(RunningExecutor* running) const {
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int> processors,
                           Processors(*plan, rank));
  CARAVAN_ASSIGN_OR_RETURN(
      running->backend,
      CreateCpuBackend({.num_threads = plan->ranks(rank).num_threads(),
                        .processors = std::move(processors)}));
  return absl::OkStatus();
}

}  // namespace caravan::worker
