#include "worker/comm/nccl/nccl_world.h"

#include <cstdlib>
#include <utility>

#include "base/status_macros.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/comm/nccl/nccl_communicator.h"
#include "worker/comm/nccl/operation_log.h"

namespace caravan::worker {
namespace {

class NcclWorld final : public World {
 public:
  NcclWorld(std::shared_ptr<cuda::DeviceContext> context,
            std::unique_ptr<TcpWorld> host, absl::Duration join_timeout)
      : context_(std::move(context)),
        host_(std::move(host)),
        join_timeout_(join_timeout),
        log_(context_) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(
      const GroupOptions& options) override {
    NcclCommunicator::Parts parts = {
        .context = context_, .log = &log_, .join_timeout = join_timeout_};
    CARAVAN_ASSIGN_OR_RETURN(parts.host, host_->CreateGroup(options));
    if (parts.host->size() == 1) return std::move(parts.host);
    CARAVAN_ASSIGN_OR_RETURN(parts.transport, host_->CreateTransport(options));
    return NcclCommunicator::Create(std::move(parts));
  }

 private:
  const std::shared_ptr<cuda::DeviceContext> context_;
  const std::unique_ptr<TcpWorld> host_;
  const absl::Duration join_timeout_;
  OperationLog log_;
};

}  // namespace

void SetNcclEnvironment() {
  // Else operations that are recorded in a graph register their buffers with
  // the other ranks: a recording would wait for them inside NCCL, and replays
  // would go another way than what runs outside of graphs.
  setenv("NCCL_GRAPH_REGISTER", "0", /*overwrite=*/0);
}

std::unique_ptr<World> MakeNcclWorld(
    std::shared_ptr<cuda::DeviceContext> context,
    std::unique_ptr<TcpWorld> host, absl::Duration join_timeout) {
  return std::make_unique<NcclWorld>(std::move(context), std::move(host),
                                     join_timeout);
}

}  // namespace caravan::worker
