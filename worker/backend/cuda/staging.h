// The way of bytes between the host and the device through page-locked memory.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_STAGING_H_
#define CARAVAN_WORKER_BACKEND_CUDA_STAGING_H_

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"

namespace caravan::worker::cuda {

// Page-locked memory of copies in the stream, from it or to it: Free waits
// until the last of them is done. The context outlives it.
class StagingBuffer final {
 public:
  static absl::StatusOr<std::unique_ptr<StagingBuffer>> Create(
      DeviceContext& context, int64_t bytes);
  ~StagingBuffer();
  StagingBuffer(const StagingBuffer&) = delete;
  StagingBuffer& operator=(const StagingBuffer&) = delete;

  int64_t bytes() const { return memory_.bytes(); }
  // The memory, once no copy reads or writes it any more.
  absl::StatusOr<std::byte*> Free();
  // Whether Free would wait. An error is for that to tell.
  bool HasToWait() const;
  // Enqueues a copy of its first bytes to the device.
  absl::Status CopyTo(void* device, int64_t bytes);
  // Enqueues a copy from the device to its beginning.
  absl::Status EnqueueCopyFrom(const void* device, int64_t bytes);
  // Copies from the device to its beginning and waits for that.
  absl::Status CopyFrom(const void* device, int64_t bytes);

 private:
  StagingBuffer(DeviceContext& context, PinnedMemory memory)
      : context_(context), memory_(std::move(memory)) {}

  DeviceContext& context_;
  const PinnedMemory memory_;
  cudaEvent_t copied_ = nullptr;
};

// A small table that the host makes anew now and then, on the device. Several
// versions may be on their way while the host goes ahead. One that is made as
// it was stays where it is.
class DeviceTable final {
 public:
  explicit DeviceTable(DeviceContext& context) : context_(context) {}

  // Room for tables of up to `bytes`, here and in page-locked memory. What the
  // table held is lost. Waits for the device where there was less room.
  absl::Status Reserve(int64_t bytes);

  // Enqueues a copy of what is not there yet; what it returns holds `bytes` for
  // what is enqueued until the next call: the same address always.
  // kResourceExhausted: more than was reserved. kFailedPrecondition: a copy
  // while recording, since a replay would bring these bytes again.
  absl::StatusOr<std::byte*> Upload(absl::Span<const std::byte> bytes);

  template <typename T>
  absl::StatusOr<T*> UploadArray(absl::Span<const T> values) {
    absl::StatusOr<std::byte*> uploaded = Upload(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                            values.size() * sizeof(T)));
    if (!uploaded.ok()) return uploaded.status();
    return reinterpret_cast<T*>(*uploaded);
  }

 private:
  static constexpr int kVersions = 4;

  DeviceContext& context_;
  DeviceMemory memory_;
  std::vector<std::byte> content_;
  std::array<std::unique_ptr<StagingBuffer>, kVersions> staging_;
  int next_ = 0;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_STAGING_H_
