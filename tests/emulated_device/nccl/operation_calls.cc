// Collectives and messages as NCCL spells them.
#include <nccl.h>

#include <string>

#include "tests/emulated_device/nccl/communicator.h"
#include "tests/emulated_device/nccl/group.h"
#include "tests/emulated_device/nccl/operations.h"

namespace caravan::emulated {
namespace {

ncclResult_t Call(ncclComm_t handle, cudaStream_t stream,
                  const CollectiveCall& call) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr || call.root < 0 ||
      call.root >= communicator->size() || BytesOf(call.type) == 0 ||
      call.reduction < ncclSum || call.reduction > ncclMin) {
    return RememberNcclError(ncclInvalidArgument, "bad collective");
  }
  return CallInGroup(handle, stream, call);
}

ncclResult_t Call(ncclComm_t handle, cudaStream_t stream,
                  const MessageCall& call, ncclDataType_t type) {
  const std::shared_ptr<Communicator> communicator = FindCommunicator(handle);
  if (communicator == nullptr || call.peer < 0 ||
      call.peer >= communicator->size() || BytesOf(type) == 0) {
    return RememberNcclError(ncclInvalidArgument, "bad peer");
  }
  return CallInGroup(handle, stream, call);
}

}  // namespace
}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count,
                           ncclDataType_t type, ncclRedOp_t reduction,
                           ncclComm_t communicator, cudaStream_t stream) {
  return Call(communicator, stream,
              {Collective::kAllReduce, send, receive, count, type, reduction});
}
ncclResult_t ncclReduce(const void* send, void* receive, size_t count,
                        ncclDataType_t type, ncclRedOp_t reduction, int root,
                        ncclComm_t communicator, cudaStream_t stream) {
  return Call(
      communicator, stream,
      {Collective::kReduce, send, receive, count, type, reduction, root});
}
ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count,
                           ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  return Call(
      communicator, stream,
      {Collective::kBroadcast, send, receive, count, type, ncclSum, root});
}
ncclResult_t ncclAllGather(const void* send, void* receive, size_t count,
                           ncclDataType_t type, ncclComm_t communicator,
                           cudaStream_t stream) {
  return Call(communicator, stream,
              {Collective::kAllGather, send, receive, count, type});
}
ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t count,
                               ncclDataType_t type, ncclRedOp_t reduction,
                               ncclComm_t communicator, cudaStream_t stream) {
  return Call(
      communicator, stream,
      {Collective::kReduceScatter, send, receive, count, type, reduction});
}
ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type,
                      int peer, ncclComm_t communicator, cudaStream_t stream) {
  return Call(communicator, stream,
              {true, const_cast<void*>(data), count * BytesOf(type), peer},
              type);
}
ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t communicator, cudaStream_t stream) {
  return Call(communicator, stream, {false, data, count * BytesOf(type), peer},
              type);
}

}  // extern "C"
