#include "worker/engine/cuda_platform.h"

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/comm/local/local_world.h"
#include "worker/comm/nccl/nccl_world.h"
#include "worker/comm/tcp/tcp_world.h"
#include "worker/engine/rank_door.h"
#include "worker/engine/staged_world.h"

namespace caravan::worker {
namespace {

constexpr absl::Duration kJoinTimeout = absl::Seconds(60);
// After a group's own deadline, which says more.
constexpr absl::Duration kLastResort = absl::Seconds(10);

class CudaPlatform final : public Platform {
 public:
  absl::string_view device() const override { return "cuda"; }

  absl::StatusOr<std::string> OpenEndpoint(
      const std::string& address) override {
    return door_.Open(address);
  }

  absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(
      const RankSetup& setup) override {
    const absl::Duration step_timeout =
        absl::Milliseconds(setup.plan->step_timeout_ms());
    const CudaBackendOptions options = {
        .timeout = step_timeout + kLastResort,
        .use_graphs = !setup.plan->enforce_eager(),
        .deterministic = setup.plan->deterministic()};
    CARAVAN_ASSIGN_OR_RETURN(context_, OpenCudaDevice(options));
    return CreateCudaBackend(context_, options);
  }

  absl::StatusOr<std::unique_ptr<World>> JoinWorld(const RankSetup& setup,
                                                   Backend& backend) override {
    if (setup.plan->ranks_size() == 1) {
      return std::move(CreateLocalWorlds(1)[0]);
    }
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<TcpWorld> host,
                             door_.Join(setup, kJoinTimeout));
    StagedWorldOptions staged = {.host_world = host.get(), .backend = &backend};
    for (const v1::RankPlan& rank : setup.plan->ranks()) {
      staged.same_kind.push_back(!rank.device_uuid().empty());
    }
    staged.device_world =
        MakeNcclWorld(context_, std::move(host), kJoinTimeout);
    return MakeStagedWorld(std::move(staged));
  }

 private:
  RankDoor door_;
  std::shared_ptr<cuda::DeviceContext> context_;
};

}  // namespace

std::unique_ptr<Platform> CreateCudaPlatform() {
  return std::make_unique<CudaPlatform>();
}

}  // namespace caravan::worker
