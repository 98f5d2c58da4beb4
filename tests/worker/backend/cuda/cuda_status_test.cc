#include "worker/backend/cuda/cuda_status.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::worker::cuda {
namespace {

using ::testing::HasSubstr;

TEST(CudaStatus, SuccessIsOk) {
  EXPECT_TRUE(CudaStatus(cudaSuccess, "cudaMalloc").ok());
}

TEST(CudaStatus, NamesTheCallAndTheError) {
  const absl::Status status =
      CudaStatus(cudaErrorIllegalAddress, "cudaStreamQuery");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("cudaStreamQuery failed: "));
  EXPECT_THAT(status.message(), HasSubstr("cudaErrorIllegalAddress"));
}

TEST(CudaStatus, SaysWhatToDo) {
  struct Case {
    cudaError_t error;
    const char* advice;
  };
  for (const Case& c :
       {Case{cudaErrorInsufficientDriver, "install NVIDIA's driver"},
        Case{cudaErrorStubLibrary, "install NVIDIA's driver"},
        Case{cudaErrorNoDevice, "CUDA_VISIBLE_DEVICES"},
        Case{cudaErrorInvalidDevice, "nvidia-smi -L"},
        Case{cudaErrorNoKernelImageForDevice, "CARAVAN_CUDA_ARCHITECTURES"},
        Case{cudaErrorDevicesUnavailable, "exclusive mode"}}) {
    const absl::Status status = CudaStatus(c.error, "cudaSetDevice");
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr(c.advice));
  }
}

TEST(CudaStatus, NoMemoryIsResourceExhaustedAndForgotten) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, size_t{1} << 50);
  EXPECT_EQ(CudaStatus(error, "cudaMalloc").code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace caravan::worker::cuda
