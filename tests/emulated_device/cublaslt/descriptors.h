// What is behind cuBLASLt's handles, as far as Caravan uses it.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_CUBLASLT_DESCRIPTORS_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_CUBLASLT_DESCRIPTORS_H_

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>

namespace caravan::emulated {

struct MatmulDescriptor {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale = CUDA_R_32F;
  cublasOperation_t transpose_a = CUBLAS_OP_N;
  cublasOperation_t transpose_b = CUBLAS_OP_N;
};

struct MatrixLayout {
  cudaDataType_t type = CUDA_R_32F;
  uint64_t rows = 0;
  uint64_t cols = 0;
  int64_t leading = 0;
  cublasLtOrder_t order = CUBLASLT_ORDER_COL;
  int32_t batches = 1;
  int64_t batch_stride = 0;  // elements

  size_t At(uint64_t row, uint64_t col) const {
    const auto step = static_cast<uint64_t>(leading);
    return order == CUBLASLT_ORDER_COL ? row + col * step : row * step + col;
  }
  // Elements from the first to past the last of one batch.
  size_t Extent() const {
    return rows * cols == 0 ? 0 : At(rows - 1, cols - 1) + 1;
  }
};

// What addresses of A, B, C and D are multiples of.
struct Alignments {
  uint32_t a, b, c, d;
};

struct MatmulPreference {
  uint64_t max_workspace_bytes = 0;
  Alignments alignments = {256, 256, 256, 256};
};

// What an algorithm from the heuristic asks of a call.
struct MatmulAlgorithm {
  uint64_t magic;
  uint64_t workspace_bytes;
  Alignments alignments;
};
static_assert(sizeof(MatmulAlgorithm) <= sizeof(cublasLtMatmulAlgo_t));
constexpr uint64_t kAlgorithmMagic = 0x6361726176616e21;

inline MatmulDescriptor* From(cublasLtMatmulDesc_t handle) {
  return reinterpret_cast<MatmulDescriptor*>(handle);
}
inline MatrixLayout* From(cublasLtMatrixLayout_t handle) {
  return reinterpret_cast<MatrixLayout*>(handle);
}
inline MatmulPreference* From(cublasLtMatmulPreference_t handle) {
  return reinterpret_cast<MatmulPreference*>(handle);
}

// A product as one call describes it.
struct Product {
  MatmulDescriptor descriptor;
  MatrixLayout a, b, c, d;

  uint64_t Inner() const {
    return descriptor.transpose_a == CUBLAS_OP_N ? a.cols : a.rows;
  }
};
// Whether the shapes fit (CUBLAS_STATUS_INVALID_VALUE) and the types are
// emulated (CUBLAS_STATUS_NOT_SUPPORTED).
cublasStatus_t CheckProduct(const Product& product);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_CUBLASLT_DESCRIPTORS_H_
