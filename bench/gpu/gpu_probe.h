// What a GPU can do at best: the measures that steps are held against.
#ifndef CARAVAN_BENCH_GPU_GPU_PROBE_H_
#define CARAVAN_BENCH_GPU_GPU_PROBE_H_

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"

namespace caravan::bench {

struct GpuProbeOptions {
  // More than any cache holds.
  int64_t read_bytes = int64_t{2} << 30;
  // Of the square matrices that are multiplied.
  int64_t matrix_size = 8192;
};

// Each call takes some tens of milliseconds and reports the best of a few
// tries. The memory is taken at creation. One thread, that of the context.
class GpuProbe final {
 public:
  static absl::StatusOr<std::unique_ptr<GpuProbe>> Create(
      worker::cuda::DeviceContext& context, const GpuProbeOptions& options);
  ~GpuProbe();
  GpuProbe(const GpuProbe&) = delete;
  GpuProbe& operator=(const GpuProbe&) = delete;

  // Bytes per second.
  absl::StatusOr<double> ReadBandwidth();

  // Operations per second of cuBLASLt's bfloat16 product with float32 sums, a
  // multiplication and an addition counted as two.
  absl::StatusOr<double> MatrixRate();

 private:
  GpuProbe(worker::cuda::DeviceContext& context, const GpuProbeOptions& options)
      : context_(context), options_(options) {}
  absl::Status Start();
  absl::Status ChooseProduct();
  absl::Status Read();
  absl::Status Multiply();
  // Of `call`, which enqueues work: the least of some.
  template <typename Call>
  absl::StatusOr<double> Seconds(Call call);

  worker::cuda::DeviceContext& context_;
  const GpuProbeOptions options_;
  worker::cuda::DeviceMemory values_;     // read
  worker::cuda::DeviceMemory matrices_;   // two factors and their product
  worker::cuda::DeviceMemory workspace_;  // of cuBLASLt
  worker::cuda::DeviceMemory sink_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
  cublasLtHandle_t library_ = nullptr;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t layout_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
  cublasLtMatmulHeuristicResult_t chosen_ = {};
};

}  // namespace caravan::bench

#endif  // CARAVAN_BENCH_GPU_GPU_PROBE_H_
