// The one place where the addends of several GPUs meet.
#ifndef CARAVAN_WORKER_COMM_NCCL_DEVICE_SUM_H_
#define CARAVAN_WORKER_COMM_NCCL_DEVICE_SUM_H_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker {

// out[i] = ((a0[i] + a1[i]) + a2[i]) + ..., each rounded to float32, where a_r
// begins at addends + r * stride, but for that of `own_rank`, which is `own`.
// Of bfloat16 addends the sum is rounded to bfloat16 at the end, also where
// `out` is float. `out` may be `own` where the types are equal. All on the
// device.
template <typename Addend, typename Sum>
struct DeviceSumArguments {
  const Addend* addends = nullptr;
  int64_t stride = 0;
  int num_addends = 0;
  const Addend* own = nullptr;
  int own_rank = 0;
  Sum* out = nullptr;
  int64_t count = 0;
};

// Enqueue it. cudaErrorInvalidValue: no addends.
cudaError_t SumInRankOrderOnDevice(
    const DeviceSumArguments<float, float>& arguments, cudaStream_t stream);
cudaError_t SumInRankOrderOnDevice(
    const DeviceSumArguments<__nv_bfloat16, float>& arguments,
    cudaStream_t stream);
cudaError_t SumInRankOrderOnDevice(
    const DeviceSumArguments<__nv_bfloat16, __nv_bfloat16>& arguments,
    cudaStream_t stream);

// Enqueue to[i] = from[i], rounded to nearest even.
cudaError_t ConvertOnDevice(const float* from, __nv_bfloat16* to, int64_t count,
                            cudaStream_t stream);
cudaError_t ConvertOnDevice(const __nv_bfloat16* from, float* to, int64_t count,
                            cudaStream_t stream);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_NCCL_DEVICE_SUM_H_
