#include "tests/emulated_device/cublaslt/descriptors.h"

#include <cstring>

namespace caravan::emulated {
namespace {

// An attribute's value must have its own size.
template <typename T>
cublasStatus_t Set(const void* value, size_t bytes, T& attribute) {
  if (value == nullptr || bytes != sizeof(T)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(&attribute, value, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}

bool IsInput(cudaDataType_t type) {
  return type == CUDA_R_16BF || type == CUDA_R_16F || type == CUDA_R_32F;
}

bool LeadingFits(const MatrixLayout& layout) {
  const uint64_t least =
      layout.order == CUBLASLT_ORDER_COL ? layout.rows : layout.cols;
  return layout.leading >= 0 && static_cast<uint64_t>(layout.leading) >= least;
}

}  // namespace

cublasStatus_t CheckProduct(const Product& product) {
  const auto& [descriptor, a, b, c, d] = product;
  const bool plain_a = descriptor.transpose_a == CUBLAS_OP_N;
  const bool plain_b = descriptor.transpose_b == CUBLAS_OP_N;
  for (const MatrixLayout* layout : {&a, &b, &c, &d}) {
    if (!LeadingFits(*layout) || layout->batches != d.batches) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  }
  if (d.rows != (plain_a ? a.rows : a.cols) ||
      d.cols != (plain_b ? b.cols : b.rows) ||
      product.Inner() != (plain_b ? b.rows : b.cols) || c.rows != d.rows ||
      c.cols != d.cols) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool supported = descriptor.compute == CUBLAS_COMPUTE_32F &&
                         descriptor.scale == CUDA_R_32F && IsInput(a.type) &&
                         a.type == b.type && c.type == d.type &&
                         (d.type == CUDA_R_32F || d.type == a.type);
  return supported ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* handle,
                                        cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *handle = reinterpret_cast<cublasLtMatmulDesc_t>(
      new MatmulDescriptor{.compute = compute, .scale = scale});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle) {
  delete From(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(
    cublasLtMatmulDesc_t handle, cublasLtMatmulDescAttributes_t attribute,
    const void* value, size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return Set(value, bytes, From(handle)->transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return Set(value, bytes, From(handle)->transpose_b);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* handle,
                                          cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t leading) {
  *handle = reinterpret_cast<cublasLtMatrixLayout_t>(new MatrixLayout{
      .type = type, .rows = rows, .cols = cols, .leading = leading});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle) {
  delete From(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(
    cublasLtMatrixLayout_t handle, cublasLtMatrixLayoutAttribute_t attribute,
    const void* value, size_t bytes) {
  MatrixLayout& layout = *From(handle);
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return Set(value, bytes, layout.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return Set(value, bytes, layout.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return Set(value, bytes, layout.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return Set(value, bytes, layout.cols);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return Set(value, bytes, layout.leading);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return Set(value, bytes, layout.batches);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return Set(value, bytes, layout.batch_stride);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(
    cublasLtMatmulPreference_t* handle) {
  *handle = reinterpret_cast<cublasLtMatmulPreference_t>(new MatmulPreference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(
    cublasLtMatmulPreference_t handle) {
  delete From(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t handle,
    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
    size_t bytes) {
  MatmulPreference& preference = *From(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Set(value, bytes, preference.max_workspace_bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return Set(value, bytes, preference.alignments.a);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return Set(value, bytes, preference.alignments.b);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return Set(value, bytes, preference.alignments.c);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return Set(value, bytes, preference.alignments.d);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

}  // extern "C"
