// The one place where the addends of several GPUs meet.
#ifndef CARAVAN_WORKER_COMM_NCCL_DEVICE_SUM_H_
#define CARAVAN_WORKER_COMM_NCCL_DEVICE_SUM_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker {

// out[i] = ((a0[i] + a1[i]) + a2[i]) + ..., each rounded to float32, where a_r
// begins at addends + r * stride, but for that of `own_rank`, which is `own`.
// `out` may be `own`. All on the device.
struct DeviceSumArguments {
  const float* addends = nullptr;
  int64_t stride = 0;
  int num_addends = 0;
  const float* own = nullptr;
  int own_rank = 0;
  float* out = nullptr;
  int64_t count = 0;
};

// Enqueues it. cudaErrorInvalidValue: no addends.
cudaError_t SumInRankOrderOnDevice(const DeviceSumArguments& arguments,
                                   cudaStream_t stream);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_DEVICE_SUM_H_
