// One NVIDIA GPU as a device.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_CUDA_BACKEND_H_
#define CARAVAN_WORKER_BACKEND_CUDA_CUDA_BACKEND_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/backend/backend.h"

namespace caravan::worker {

namespace cuda {
class DeviceContext;
}

struct CudaBackendOptions {
  int device = 0;  // among those that the process sees
  // How long the host waits for the GPU before it gives it up.
  absl::Duration timeout = absl::Seconds(60);
  // Whether decode steps are replayed as CUDA graphs (step_graphs.h).
  bool use_graphs = true;
  // Whether all of what backend.h promises about numerics holds between
  // backends of this kind. Without it products of `least_library_rows` rows and
  // more with weights of 16 bits are cuBLASLt's (docs/decisions/0017), whose
  // order of additions depends on the number of rows.
  bool deterministic = false;
  // Below, reading the weights is what takes time.
  int64_t least_library_rows = 65;
};

// Operations are enqueued on one stream and run behind the host. Against the
// CPU results differ by rounding: docs/decisions/0008-cuda-numerics.md.
//
// kFailedPrecondition: no driver, no such GPU, or one that this build has no
// code for; any operation may report kDeadlineExceeded, and kInternal where the
// GPU has failed, for good.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    const CudaBackendOptions& options);

// The device alone, for a backend and others that work in the order of its
// stream.
absl::StatusOr<std::shared_ptr<cuda::DeviceContext>> OpenCudaDevice(
    const CudaBackendOptions& options);
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    std::shared_ptr<cuda::DeviceContext> context,
    const CudaBackendOptions& options);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CUDA_CUDA_BACKEND_H_
