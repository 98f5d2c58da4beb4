// Ranks as processes with a GPU each.
#ifndef CARAVAN_WORKER_COMM_NCCL_NCCL_WORLD_H_
#define CARAVAN_WORKER_COMM_NCCL_NCCL_WORLD_H_

#include <memory>

#include "absl/time/time.h"
#include "worker/comm/communicator.h"
#include "worker/comm/tcp/tcp_world.h"

namespace caravan::worker {

namespace cuda {
class DeviceContext;
}

// Settings of NCCL that Caravan needs, where the environment does not say
// otherwise. Before any other thread is started.
void SetNcclEnvironment();

// Groups as nccl_communicator.h describes them; a group of one is `host`'s own.
// Made by ranks that have met by TCP, where unique ids travel. Every member of
// a group has a GPU of its own; tensors are its backend's, made with the same
// context. `host` lives as long as the world.
//
// One thread, the backend's: its work and that of all groups is in the order of
// one stream, the same order on all ranks, without which NCCL's communicators
// wait for each other for ever.
//
// CreateGroup: kDeadlineExceeded: not all members came to NCCL within
// `join_timeout`; kFailedPrecondition: NCCL found no network or was refused by
// the driver.
std::unique_ptr<World> MakeNcclWorld(
    std::shared_ptr<cuda::DeviceContext> context,
    std::unique_ptr<TcpWorld> host, absl::Duration join_timeout);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_NCCL_WORLD_H_
