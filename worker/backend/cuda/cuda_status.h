// Errors of CUDA's runtime as absl::Status.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_CUDA_STATUS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_CUDA_STATUS_H_

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace caravan::worker::cuda {

// kResourceExhausted: no memory; kFailedPrecondition: no driver, none that is
// new enough, or no such device, with what to do about it; kInternal: anything
// else. An error of an earlier kernel may surface at any call and stays for
// good. The runtime's memory of the last error is cleared.
absl::Status CudaStatus(cudaError_t error, absl::string_view call);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_CUDA_STATUS_H_
