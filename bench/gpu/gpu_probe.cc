#include "bench/gpu/gpu_probe.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bench/gpu/read_all.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::bench {
namespace {

using worker::cuda::CudaStatus;
using worker::cuda::DeviceMemory;

constexpr int kTries = 8;
constexpr int64_t kValueBytes = 2;  // of a bfloat16
constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;

absl::Status CublasStatus(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(call, " failed: status=", status));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GpuProbe>> GpuProbe::Create(
    worker::cuda::DeviceContext& context, const GpuProbeOptions& options) {
  std::unique_ptr<GpuProbe> probe(new GpuProbe(context, options));
  CARAVAN_RETURN_IF_ERROR(probe->Start());
  return probe;
}

GpuProbe::~GpuProbe() {
  context_.Wait().IgnoreError();
  if (preference_ != nullptr) cublasLtMatmulPreferenceDestroy(preference_);
  if (layout_ != nullptr) cublasLtMatrixLayoutDestroy(layout_);
  if (product_ != nullptr) cublasLtMatmulDescDestroy(product_);
  if (library_ != nullptr) cublasLtDestroy(library_);
  for (const cudaEvent_t event : {begin_, end_}) {
    if (event != nullptr) static_cast<void>(cudaEventDestroy(event));
  }
}

absl::Status GpuProbe::Start() {
  const int64_t matrix_bytes =
      options_.matrix_size * options_.matrix_size * kValueBytes;
  CARAVAN_ASSIGN_OR_RETURN(values_, DeviceMemory::Create(options_.read_bytes));
  CARAVAN_ASSIGN_OR_RETURN(matrices_, DeviceMemory::Create(3 * matrix_bytes));
  CARAVAN_ASSIGN_OR_RETURN(workspace_, DeviceMemory::Create(kWorkspaceBytes));
  CARAVAN_ASSIGN_OR_RETURN(sink_, DeviceMemory::Create(sizeof(unsigned)));
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaMemsetAsync(values_.data(), 0, values_.bytes(), context_.stream()),
      "cudaMemsetAsync"));
  // Small numbers, as weights are: a GPU that multiplies zeros needs less power
  // and runs faster than it does with a model.
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemsetAsync(matrices_.data(), 0x3c, matrices_.bytes(),
                                 context_.stream()),
                 "cudaMemsetAsync"));
  for (cudaEvent_t* event : {&begin_, &end_}) {
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(cudaEventCreate(event), "cudaEventCreate"));
  }
  return ChooseProduct();
}

absl::Status GpuProbe::ChooseProduct() {
  CARAVAN_RETURN_IF_ERROR(
      CublasStatus(cublasLtCreate(&library_), "cublasLtCreate"));
  CARAVAN_RETURN_IF_ERROR(CublasStatus(
      cublasLtMatmulDescCreate(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
      "cublasLtMatmulDescCreate"));
  // As a model's: rows of weights times rows of inputs.
  const cublasOperation_t transposed = CUBLAS_OP_T;
  CARAVAN_RETURN_IF_ERROR(CublasStatus(
      cublasLtMatmulDescSetAttribute(product_, CUBLASLT_MATMUL_DESC_TRANSA,
                                     &transposed, sizeof(transposed)),
      "cublasLtMatmulDescSetAttribute"));
  const auto size = static_cast<uint64_t>(options_.matrix_size);
  CARAVAN_RETURN_IF_ERROR(
      CublasStatus(cublasLtMatrixLayoutCreate(&layout_, CUDA_R_16BF, size, size,
                                              options_.matrix_size),
                   "cublasLtMatrixLayoutCreate"));
  CARAVAN_RETURN_IF_ERROR(
      CublasStatus(cublasLtMatmulPreferenceCreate(&preference_),
                   "cublasLtMatmulPreferenceCreate"));
  const size_t workspace = kWorkspaceBytes;
  CARAVAN_RETURN_IF_ERROR(
      CublasStatus(cublasLtMatmulPreferenceSetAttribute(
                       preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                       &workspace, sizeof(workspace)),
                   "cublasLtMatmulPreferenceSetAttribute"));
  int found = 0;
  CARAVAN_RETURN_IF_ERROR(CublasStatus(
      cublasLtMatmulAlgoGetHeuristic(library_, product_, layout_, layout_,
                                     layout_, layout_, preference_, 1, &chosen_,
                                     &found),
      "cublasLtMatmulAlgoGetHeuristic"));
  if (found > 0) return absl::OkStatus();
  return absl::InternalError("cuBLASLt has no product for such matrices");
}

absl::Status GpuProbe::Read() {
  return CudaStatus(
      ReadAll({.values = values_.As<uint4>(),
               .count = values_.bytes() / static_cast<int64_t>(sizeof(uint4)),
               .sink = sink_.As<unsigned>(),
               .num_multiprocessors = context_.num_multiprocessors()},
              context_.stream()),
      "ReadAll");
}

absl::Status GpuProbe::Multiply() {
  const int64_t elements = options_.matrix_size * options_.matrix_size;
  auto* const a = matrices_.As<uint16_t>();
  uint16_t* const b = a + elements;
  uint16_t* const d = b + elements;
  const float alpha = 1;
  const float beta = 0;
  return CublasStatus(
      cublasLtMatmul(library_, product_, &alpha, a, layout_, b, layout_, &beta,
                     d, layout_, d, layout_, &chosen_.algo, workspace_.data(),
                     kWorkspaceBytes, context_.stream()),
      "cublasLtMatmul");
}

template <typename Call>
absl::StatusOr<double> GpuProbe::Seconds(Call call) {
  float least = std::numeric_limits<float>::infinity();
  for (int i = 0; i < kTries; ++i) {
    CARAVAN_RETURN_IF_ERROR(CudaStatus(
        cudaEventRecord(begin_, context_.stream()), "cudaEventRecord"));
    CARAVAN_RETURN_IF_ERROR(call());
    CARAVAN_RETURN_IF_ERROR(CudaStatus(cudaEventRecord(end_, context_.stream()),
                                       "cudaEventRecord"));
    CARAVAN_RETURN_IF_ERROR(context_.Wait());
    float milliseconds = 0;
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(cudaEventElapsedTime(&milliseconds, begin_, end_),
                   "cudaEventElapsedTime"));
    least = std::min(least, milliseconds);
  }
  return least * 1e-3;
}

absl::StatusOr<double> GpuProbe::ReadBandwidth() {
  CARAVAN_ASSIGN_OR_RETURN(const double seconds,
                           Seconds([this] { return Read(); }));
  return static_cast<double>(options_.read_bytes) / seconds;
}

absl::StatusOr<double> GpuProbe::MatrixRate() {
  CARAVAN_ASSIGN_OR_RETURN(const double seconds,
                           Seconds([this] { return Multiply(); }));
  const auto size = static_cast<double>(options_.matrix_size);
  return 2 * size * size * size / seconds;
}

}  // namespace caravan::bench
