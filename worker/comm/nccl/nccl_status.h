// Errors of NCCL as absl::Status.
#ifndef CARAVAN_WORKER_COMM_NCCL_NCCL_STATUS_H_
#define CARAVAN_WORKER_COMM_NCCL_NCCL_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace caravan::worker {

// `result` is an ncclResult_t, `connection` the ncclComm_t that it is about, or
// null. kUnavailable: a peer or the way to it was lost; kFailedPrecondition:
// the network or the driver does not do what NCCL needs; kInternal: anything
// else. The text has what NCCL says about its last error.
absl::Status NcclStatus(int result, absl::string_view call,
                        void* connection = nullptr);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_NCCL_STATUS_H_
