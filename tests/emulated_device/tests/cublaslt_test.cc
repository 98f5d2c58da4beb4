// Emulated cuBLASLt: products in all transpositions and types, and refusals.
#include <cublasLt.h>

#include <cmath>
#include <vector>

#include "tests/emulated_device/tests/device_test_base.h"
#include "worker/backend/cuda/numbers.cuh"

namespace caravan::emulated {
namespace {

using worker::cuda::FromFloat;
using worker::cuda::ToFloat;

template <typename T>
constexpr cudaDataType_t kType = std::is_same_v<T, float>    ? CUDA_R_32F
                                 : std::is_same_v<T, __half> ? CUDA_R_16F
                                                             : CUDA_R_16BF;

// A product with its handles.
class Call final {
 public:
  // op(A): m x k, op(B): k x n, all column-major and packed.
  Call(bool transpose_a, bool transpose_b, cudaDataType_t in,
       cudaDataType_t out) {
    EXPECT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(
        cublasLtMatmulDescCreate(&descriptor_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        CUBLAS_STATUS_SUCCESS);
    SetTranspose(CUBLASLT_MATMUL_DESC_TRANSA, transpose_a);
    SetTranspose(CUBLASLT_MATMUL_DESC_TRANSB, transpose_b);
    a_ = Layout(in, transpose_a ? kK : kM, transpose_a ? kM : kK);
    b_ = Layout(in, transpose_b ? kN : kK, transpose_b ? kK : kN);
    d_ = Layout(out, kM, kN);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference_),
              CUBLAS_STATUS_SUCCESS);
    const size_t bytes = 1024;
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(
                  preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                  sizeof(bytes)),
              CUBLAS_STATUS_SUCCESS);
  }
  ~Call() {
    cublasLtMatmulPreferenceDestroy(preference_);
    for (cublasLtMatrixLayout_t layout : {a_, b_, d_}) {
      cublasLtMatrixLayoutDestroy(layout);
    }
    cublasLtMatmulDescDestroy(descriptor_);
    cublasLtDestroy(handle_);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  cublasStatus_t Run(const void* a, const void* b, void* d,
                     size_t workspace_bytes = 1024) {
    cublasLtMatmulHeuristicResult_t result = {};
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, descriptor_, a_, b_, d_, d_, preference_, 1, &result, &found);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    EXPECT_EQ(found, 1);
    EXPECT_LE(result.workspaceSize, workspace_.size());
    const float alpha = 2, beta = 0;
    return cublasLtMatmul(handle_, descriptor_, &alpha, a, a_, b, b_, &beta, d,
                          d_, d, d_, &result.algo, workspace_.data(),
                          workspace_bytes, nullptr);
  }

  void SetAlignmentOfD(uint32_t bytes) {
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(
                  preference_, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                  &bytes, sizeof(bytes)),
              CUBLAS_STATUS_SUCCESS);
  }

  static constexpr uint64_t kM = 5, kN = 3, kK = 7;

 private:
  void SetTranspose(cublasLtMatmulDescAttributes_t attribute, bool transpose) {
    const cublasOperation_t operation = transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(descriptor_, attribute, &operation,
                                             sizeof(operation)),
              CUBLAS_STATUS_SUCCESS);
  }
  static cublasLtMatrixLayout_t Layout(cudaDataType_t type, uint64_t rows,
                                       uint64_t cols) {
    cublasLtMatrixLayout_t layout = nullptr;
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&layout, type, rows, cols,
                                         static_cast<int64_t>(rows)),
              CUBLAS_STATUS_SUCCESS);
    return layout;
  }

  const DeviceVector<char> workspace_{1024};
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t descriptor_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
};

float Value(uint64_t i, uint64_t j) {
  return static_cast<float>((i * 3 + j * 5) % 11) - 5;
}

// Column-major, as given or transposed.
template <typename T>
std::vector<T> Matrix(uint64_t rows, uint64_t cols, bool transposed) {
  std::vector<T> values(rows * cols);
  for (uint64_t i = 0; i < rows; ++i) {
    for (uint64_t j = 0; j < cols; ++j) {
      values[transposed ? i * cols + j : j * rows + i] =
          FromFloat<T>(Value(i, j));
    }
  }
  return values;
}

class CublasLtTest : public DeviceTest {
 protected:
  template <typename In, typename Out>
  void CheckProducts() {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        const DeviceVector<In> a(Matrix<In>(Call::kM, Call::kK, transpose_a));
        const DeviceVector<In> b(Matrix<In>(Call::kK, Call::kN, transpose_b));
        const DeviceVector<Out> d(Call::kM * Call::kN);
        Call call(transpose_a, transpose_b, kType<In>, kType<Out>);
        ASSERT_EQ(call.Run(a.data(), b.data(), d.data()),
                  CUBLAS_STATUS_SUCCESS);
        const std::vector<Out> got = d.Get();
        for (uint64_t i = 0; i < Call::kM; ++i) {
          for (uint64_t j = 0; j < Call::kN; ++j) {
            float sum = 0;
            for (uint64_t k = 0; k < Call::kK; ++k) {
              sum += Value(i, k) * Value(k, j);
            }
            ASSERT_NEAR(ToFloat(got[j * Call::kM + i]), 2 * sum,
                        std::fabs(sum) * 0.01);
          }
        }
      }
    }
  }
};

TEST_F(CublasLtTest, MultipliesInEveryTransposition) {
  CheckProducts<__nv_bfloat16, __nv_bfloat16>();
  CheckProducts<__nv_bfloat16, float>();
  CheckProducts<__half, __half>();
  CheckProducts<__half, float>();
  CheckProducts<float, float>();
}

TEST_F(CublasLtTest, RefusesWhatDoesNotFit) {
  const DeviceVector<__half> a(64), b(64);
  const DeviceVector<float> d(64);
  Call mixed(false, false, CUDA_R_16F, CUDA_R_16BF);
  EXPECT_EQ(mixed.Run(a.data(), b.data(), d.data()),
            CUBLAS_STATUS_NOT_SUPPORTED);
  Call call(false, false, CUDA_R_16F, CUDA_R_32F);
  EXPECT_EQ(call.Run(a.data(), b.data(), d.data(), /*workspace_bytes=*/512),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLtTest, AddressesAreAlignedAsTheHeuristicWasTold) {
  const DeviceVector<__half> a(64), b(64);
  const DeviceVector<float> d(64);
  Call call(false, false, CUDA_R_16F, CUDA_R_32F);
  EXPECT_EQ(call.Run(a.data(), b.data(), d.data() + 4),
            CUBLAS_STATUS_INVALID_VALUE);  // 256 bytes unless told
  call.SetAlignmentOfD(16);
  EXPECT_EQ(call.Run(a.data(), b.data(), d.data() + 4), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(call.Run(a.data(), b.data(), d.data() + 1),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLtTest, MatricesStayInTheirBuffers) {
  const DeviceVector<__half> a(64), b(64);
  const DeviceVector<float> d(Call::kM * Call::kN - 1);
  Call call(false, false, CUDA_R_16F, CUDA_R_32F);
  EXPECT_EQ(call.Run(a.data(), b.data(), d.data()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_THAT(TakeFault(), testing::HasSubstr("leaves its buffer"));
}

}  // namespace
}  // namespace caravan::emulated
