#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/rms_norm.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 256;

// One block per row. A thread reads pairs; the row is read twice, the second
// time from the cache.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    RmsNormKernel(RmsNormArguments<T> arguments) {
  using Pair = PairOf<T>;
  const int64_t row = blockIdx.x;
  const int pairs = arguments.cols / 2;
  const Pair* x =
      reinterpret_cast<const Pair*>(arguments.x + row * arguments.cols);
  float sum = 0;
  for (int i = threadIdx.x; i < pairs; i += kThreads) {
    const float2 value = ToFloat2(x[i]);
    sum += value.x * value.x + value.y * value.y;
  }
  sum = BlockSum<kThreads>(sum);
  const float factor = rsqrtf(sum / arguments.cols + arguments.epsilon);
  const float2* weight = reinterpret_cast<const float2*>(arguments.weight);
  Pair* out = reinterpret_cast<Pair*>(arguments.out + row * arguments.cols);
  for (int i = threadIdx.x; i < pairs; i += kThreads) {
    const float2 value = ToFloat2(x[i]);
    const float2 scale = __ldg(weight + i);
    out[i] = FromFloat2<T>(
        make_float2(value.x * factor * scale.x, value.y * factor * scale.y));
  }
}

template <typename T>
cudaError_t LaunchRmsNorm(const RmsNormArguments<T>& arguments,
                          cudaStream_t stream) {
  constexpr int64_t kMaxRows = 0x7fffffff;  // of a grid
  if (arguments.rows < 0 || arguments.rows > kMaxRows || arguments.cols <= 0 ||
      arguments.cols % 2 != 0) {
    return cudaErrorInvalidValue;
  }
  if (arguments.rows == 0) return cudaSuccess;
  return Launch(RmsNormKernel<T>,
                {dim3(static_cast<unsigned>(arguments.rows)), dim3(kThreads)},
                stream, arguments);
}

}  // namespace

cudaError_t RmsNorm(const RmsNormArguments<float>& arguments,
                    cudaStream_t stream) {
  return LaunchRmsNorm(arguments, stream);
}
cudaError_t RmsNorm(const RmsNormArguments<__half>& arguments,
                    cudaStream_t stream) {
  return LaunchRmsNorm(arguments, stream);
}
cudaError_t RmsNorm(const RmsNormArguments<__nv_bfloat16>& arguments,
                    cudaStream_t stream) {
  return LaunchRmsNorm(arguments, stream);
}

}  // namespace caravan::worker::cuda
