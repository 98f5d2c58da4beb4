// D = alpha * op(A) * op(B) + beta * C with float32 sums in the order of the
// inner dimension, which is not what the real library promises.
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/emulated_device/cublaslt/control.h"
#include "tests/emulated_device/cublaslt/descriptors.h"
#include "tests/emulated_device/runtime/device_memory.h"
#include "tests/emulated_device/runtime/runtime_state.h"
#include "tests/emulated_device/runtime/work.h"

namespace caravan::emulated {
namespace {

constexpr uint64_t kWorkspaceBytes = 4096;  // asked for if allowed

size_t BytesOf(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

float Load(const void* data, cudaDataType_t type, size_t i) {
  switch (type) {
    case CUDA_R_16BF:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
    case CUDA_R_16F:
      return __half2float(static_cast<const __half*>(data)[i]);
    default:
      return static_cast<const float*>(data)[i];
  }
}
void Store(void* data, cudaDataType_t type, size_t i, float value) {
  switch (type) {
    case CUDA_R_16BF:
      static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16(value);
      return;
    case CUDA_R_16F:
      static_cast<__half*>(data)[i] = __float2half(value);
      return;
    default:
      static_cast<float*>(data)[i] = value;
  }
}

struct Operands {
  const void* a;
  const void* b;
  const void* c;
  void* d;
  void* workspace;
  uint64_t workspace_bytes;
  float alpha;
  float beta;
};

const void* Batch(const void* data, const MatrixLayout& layout, int batch) {
  const int64_t offset =
      layout.batch_stride * batch * static_cast<int64_t>(BytesOf(layout.type));
  return static_cast<const char*>(data) + offset;
}

// The operand of a batch, row-major in float32.
std::vector<float> Gather(const void* data, const MatrixLayout& layout,
                          bool transposed) {
  const uint64_t rows = transposed ? layout.cols : layout.rows;
  const uint64_t cols = transposed ? layout.rows : layout.cols;
  std::vector<float> values(rows * cols);
  for (uint64_t i = 0; i < rows; ++i) {
    for (uint64_t j = 0; j < cols; ++j) {
      const size_t at = transposed ? layout.At(j, i) : layout.At(i, j);
      values[i * cols + j] = Load(data, layout.type, at);
    }
  }
  return values;
}

void MultiplyBatch(const Product& product, const Operands& operands,
                   int batch) {
  const auto& [descriptor, la, lb, lc, ld] = product;
  const std::vector<float> a = Gather(Batch(operands.a, la, batch), la,
                                      descriptor.transpose_a != CUBLAS_OP_N);
  const std::vector<float> b = Gather(Batch(operands.b, lb, batch), lb,
                                      descriptor.transpose_b != CUBLAS_OP_N);
  const void* c = Batch(operands.c, lc, batch);
  void* d = const_cast<void*>(Batch(operands.d, ld, batch));
  const uint64_t inner = product.Inner();
  std::vector<float> sums(ld.cols);
  for (uint64_t i = 0; i < ld.rows; ++i) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (uint64_t k = 0; k < inner; ++k) {
      const float factor = a[i * inner + k];
      const float* row = b.data() + k * ld.cols;
      for (uint64_t j = 0; j < ld.cols; ++j) sums[j] += factor * row[j];
    }
    for (uint64_t j = 0; j < ld.cols; ++j) {
      float value = operands.alpha * sums[j];
      // C is not read at all, NaN included, if beta is 0.
      if (operands.beta != 0) {
        value += operands.beta * Load(c, lc.type, lc.At(i, j));
      }
      Store(d, ld.type, ld.At(i, j), value);
    }
  }
}

// Whether all of a matrix lies in one allocation.
bool IsInMemory(const void* data, const MatrixLayout& layout) {
  const auto batches = static_cast<size_t>(layout.batches - 1);
  const size_t elements =
      layout.Extent() + batches * static_cast<size_t>(layout.batch_stride);
  return IsAllocated(data, elements * BytesOf(layout.type));
}

void Run(const Product& product, const Operands& operands) {
  const bool reads_c = operands.beta != 0;
  const bool in_memory =
      IsInMemory(operands.a, product.a) && IsInMemory(operands.b, product.b) &&
      IsInMemory(operands.d, product.d) &&
      (!reads_c || IsInMemory(operands.c, product.c)) &&
      IsAllocated(operands.workspace, operands.workspace_bytes);
  if (!in_memory) {
    FailDevice(CurrentDevice(), cudaErrorIllegalAddress,
               "cublasLtMatmul: a matrix or the workspace leaves its buffer");
    return;
  }
  // Whoever keeps something there loses it.
  if (operands.workspace_bytes > 0) {
    std::memset(operands.workspace, 0xff, operands.workspace_bytes);
  }
  for (int batch = 0; batch < product.d.batches; ++batch) {
    MultiplyBatch(product, operands, batch);
  }
}

MatmulAlgorithm AlgorithmOf(const cublasLtMatmulAlgo_t* algo) {
  MatmulAlgorithm algorithm = {kAlgorithmMagic, 0, {}};
  if (algo != nullptr) std::memcpy(&algorithm, algo, sizeof(algorithm));
  return algorithm;
}

bool IsAligned(const void* data, uint32_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}
bool AreAligned(const Operands& operands, const Alignments& to) {
  return IsAligned(operands.a, to.a) && IsAligned(operands.b, to.b) &&
         (operands.beta == 0 || IsAligned(operands.c, to.c)) &&
         IsAligned(operands.d, to.d) && IsAligned(operands.workspace, 16);
}

std::atomic<bool> refuses_all = false;

#define CARAVAN_STATUS_NAME(status) \
  case status:                      \
    return #status
const char* StatusName(cublasStatus_t status) {
  switch (status) {
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_SUCCESS);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_NOT_INITIALIZED);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_ALLOC_FAILED);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_INVALID_VALUE);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_ARCH_MISMATCH);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_MAPPING_ERROR);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_EXECUTION_FAILED);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_INTERNAL_ERROR);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_NOT_SUPPORTED);
    CARAVAN_STATUS_NAME(CUBLAS_STATUS_LICENSE_ERROR);
    default:
      return "unknown cublas status";
  }
}
#undef CARAVAN_STATUS_NAME

}  // namespace

void RefuseMatmuls(bool all) { refuses_all = all; }

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(CurrentDevice()));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusName(cublasStatus_t status) {
  return StatusName(status);
}
size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

// One algorithm, which wants a workspace if the preference allows it. Not while
// a graph is recorded, which cuBLASLt of CUDA 13.3 refuses.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t, cublasLtMatmulDesc_t descriptor, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
    cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
    int requested, cublasLtMatmulHeuristicResult_t results[], int* returned) {
  *returned = 0;
  if (requested < 1) return CUBLAS_STATUS_INVALID_VALUE;
  {
    RuntimeLock lock(RuntimeMutex());
    if (CheckNoCapture() != cudaSuccess) return CUBLAS_STATUS_INTERNAL_ERROR;
  }
  if (refuses_all) return CUBLAS_STATUS_NOT_SUPPORTED;
  const cublasStatus_t status =
      CheckProduct({*From(descriptor), *From(a), *From(b), *From(c), *From(d)});
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  results[0] = {};
  results[0].state = CUBLAS_STATUS_SUCCESS;
  results[0].workspaceSize =
      std::min(kWorkspaceBytes, From(preference)->max_workspace_bytes);
  const MatmulAlgorithm algorithm = {kAlgorithmMagic, results[0].workspaceSize,
                                     From(preference)->alignments};
  std::memcpy(&results[0].algo, &algorithm, sizeof(algorithm));
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle,
                              cublasLtMatmulDesc_t descriptor,
                              const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout,
                              void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  const Product product = {*From(descriptor), *From(a_layout), *From(b_layout),
                           *From(c_layout), *From(d_layout)};
  const cublasStatus_t status = CheckProduct(product);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const MatmulAlgorithm algorithm = AlgorithmOf(algo);
  if (algorithm.magic != kAlgorithmMagic ||
      workspace_bytes < algorithm.workspace_bytes ||
      StreamDevice(stream) != *reinterpret_cast<int*>(handle)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const Operands operands = {a,
                             b,
                             c,
                             d,
                             workspace,
                             algorithm.workspace_bytes,
                             *static_cast<const float*>(alpha),
                             *static_cast<const float*>(beta)};
  if (!AreAligned(operands, algorithm.alignments)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const cudaError_t error =
      EnqueueFunction(stream, [product, operands] { Run(product, operands); });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                              : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
