// Group calls: what is called between ncclGroupStart and ncclGroupEnd is
// enqueued together and makes progress together.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_NCCL_GROUP_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_NCCL_GROUP_H_

#include <nccl.h>

#include <memory>
#include <variant>

#include "tests/emulated_device/nccl/communicator.h"
#include "tests/emulated_device/nccl/operations.h"

namespace caravan::emulated {

using NcclCall = std::variant<CollectiveCall, MessageCall>;

// Enqueues at once, or with the group that the calling thread is in.
ncclResult_t CallInGroup(ncclComm_t handle, cudaStream_t stream,
                         const NcclCall& call);

bool InGroup();
// A blocking communicator made inside a group is ready when the group ends.
void AwaitAtGroupEnd(std::shared_ptr<Communicator> communicator);
// Polls until it is ready, has failed or was aborted.
ncclResult_t AwaitReady(Communicator& communicator);

// Keeps the text for ncclGetLastError(nullptr).
ncclResult_t RememberNcclError(ncclResult_t result, const std::string& why);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_NCCL_GROUP_H_
