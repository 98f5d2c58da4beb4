#include "worker/backend/cuda/staging.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {

absl::StatusOr<std::unique_ptr<StagingBuffer>> StagingBuffer::Create(
    DeviceContext& context, int64_t bytes) {
  CARAVAN_ASSIGN_OR_RETURN(PinnedMemory memory, PinnedMemory::Create(bytes));
  std::unique_ptr<StagingBuffer> buffer(
      new StagingBuffer(context, std::move(memory)));
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaEventCreateWithFlags(&buffer->copied_, cudaEventDisableTiming),
      "cudaEventCreateWithFlags"));
  return buffer;
}

StagingBuffer::~StagingBuffer() {
  if (copied_ != nullptr) cudaEventDestroy(copied_);
}

absl::StatusOr<std::byte*> StagingBuffer::Free() {
  CARAVAN_RETURN_IF_ERROR(context_.WaitFor(copied_));
  return memory_.data();
}

bool StagingBuffer::HasToWait() const {
  if (cudaEventQuery(copied_) != cudaErrorNotReady) return false;
  cudaGetLastError();  // "not ready" is none
  return true;
}

absl::Status StagingBuffer::CopyTo(void* device, int64_t bytes) {
  CARAVAN_CHECK(bytes <= memory_.bytes());
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemcpyAsync(device, memory_.data(), bytes,
                                 cudaMemcpyHostToDevice, context_.stream()),
                 "cudaMemcpyAsync"));
  return CudaStatus(cudaEventRecord(copied_, context_.stream()),
                    "cudaEventRecord");
}

absl::Status StagingBuffer::EnqueueCopyFrom(const void* device, int64_t bytes) {
  CARAVAN_CHECK(bytes <= memory_.bytes());
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemcpyAsync(memory_.data(), device, bytes,
                                 cudaMemcpyDeviceToHost, context_.stream()),
                 "cudaMemcpyAsync"));
  return CudaStatus(cudaEventRecord(copied_, context_.stream()),
                    "cudaEventRecord");
}

absl::Status StagingBuffer::CopyFrom(const void* device, int64_t bytes) {
  CARAVAN_CHECK(bytes <= memory_.bytes());
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemcpyAsync(memory_.data(), device, bytes,
                                 cudaMemcpyDeviceToHost, context_.stream()),
                 "cudaMemcpyAsync"));
  return context_.Wait();
}

absl::Status DeviceTable::Reserve(int64_t bytes) {
  if (bytes <= memory_.bytes()) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(context_.Wait());
  content_.clear();
  memory_ = DeviceMemory();  // before there is more
  CARAVAN_ASSIGN_OR_RETURN(memory_, DeviceMemory::Create(bytes));
  for (std::unique_ptr<StagingBuffer>& staging : staging_) {
    CARAVAN_ASSIGN_OR_RETURN(staging, StagingBuffer::Create(context_, bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::byte*> DeviceTable::Upload(
    absl::Span<const std::byte> bytes) {
  const int64_t size = static_cast<int64_t>(bytes.size());
  if (size > memory_.bytes()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a table is larger than what was reserved: bytes=", size,
                     " reserved=", memory_.bytes()));
  }
  const bool holds_them =
      size <= std::ssize(content_) &&
      std::equal(bytes.begin(), bytes.end(), content_.begin());
  if (holds_them) return memory_.data();
  if (context_.recording()) {
    return absl::FailedPreconditionError("a table changes while recording");
  }
  StagingBuffer& staging = *staging_[next_];
  next_ = (next_ + 1) % kVersions;
  content_.clear();  // until it has worked
  CARAVAN_ASSIGN_OR_RETURN(std::byte* const to, staging.Free());
  std::memcpy(to, bytes.data(), size);
  CARAVAN_RETURN_IF_ERROR(staging.CopyTo(memory_.data(), size));
  content_.assign(bytes.begin(), bytes.end());
  return memory_.data();
}

}  // namespace caravan::worker::cuda
