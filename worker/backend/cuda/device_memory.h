// Memory of the device, and of the host where the device reaches it.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_DEVICE_MEMORY_H_
#define CARAVAN_WORKER_BACKEND_CUDA_DEVICE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace caravan::worker::cuda {

// On the device that is current when it is made; what it holds is undefined.
// Releasing it waits for the device.
class DeviceMemory final {
 public:
  // kInvalidArgument: fewer than 0 bytes; kResourceExhausted: no such room.
  static absl::StatusOr<DeviceMemory> Create(int64_t bytes);
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  int64_t bytes() const { return bytes_; }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Of the host, page-locked: copies to and from it run beside the host.
class PinnedMemory final {
 public:
  static absl::StatusOr<PinnedMemory> Create(int64_t bytes);
  PinnedMemory() = default;
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept { *this = std::move(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_DEVICE_MEMORY_H_
