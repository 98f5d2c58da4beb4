#include "worker/backend/cuda/device_memory.h"

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {
namespace {

absl::Status CheckSize(int64_t bytes) {
  if (bytes >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("memory of a negative size: bytes=", bytes));
}

}  // namespace

absl::StatusOr<DeviceMemory> DeviceMemory::Create(int64_t bytes) {
  CARAVAN_RETURN_IF_ERROR(CheckSize(bytes));
  DeviceMemory memory;
  CARAVAN_RETURN_IF_ERROR(
      Annotate(CudaStatus(cudaMalloc(&memory.data_, bytes), "cudaMalloc"),
               absl::StrCat("memory of the GPU: bytes=", bytes)));
  memory.bytes_ = bytes;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

absl::StatusOr<PinnedMemory> PinnedMemory::Create(int64_t bytes) {
  CARAVAN_RETURN_IF_ERROR(CheckSize(bytes));
  PinnedMemory memory;
  CARAVAN_RETURN_IF_ERROR(Annotate(
      CudaStatus(cudaHostAlloc(&memory.data_, bytes, cudaHostAllocDefault),
                 "cudaHostAlloc"),
      absl::StrCat("page-locked memory: bytes=", bytes)));
  memory.bytes_ = bytes;
  return memory;
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

}  // namespace caravan::worker::cuda
