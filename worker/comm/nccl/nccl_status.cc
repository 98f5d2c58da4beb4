#include "worker/comm/nccl/nccl_status.h"

#include <nccl.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace caravan::worker {

absl::Status NcclStatus(int result, absl::string_view call, void* connection) {
  if (result == ncclSuccess) return absl::OkStatus();
  std::string message = absl::StrCat(
      call, " failed: ", ncclGetErrorString(static_cast<ncclResult_t>(result)));
  const char* const last =
      ncclGetLastError(static_cast<ncclComm_t>(connection));
  if (last != nullptr && *last != '\0') absl::StrAppend(&message, ": ", last);
  switch (result) {
    case ncclRemoteError:
      return absl::UnavailableError(message);
    case ncclSystemError:
    case ncclUnhandledCudaError:
      return absl::FailedPreconditionError(absl::StrCat(
          message, "; run the engine with NCCL_DEBUG=WARN to see more"));
    default:
      return absl::InternalError(message);
  }
}

}  // namespace caravan::worker
