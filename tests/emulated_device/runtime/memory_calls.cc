// Allocation and release.
#include <cuda_runtime_api.h>

#include "tests/emulated_device/control.h"
#include "tests/emulated_device/runtime/device_memory.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

MemoryCalls made;  // guarded by RuntimeMutex

cudaError_t Allocate(void** address, size_t bytes, MemoryKind kind) {
  const RuntimeLock lock(RuntimeMutex());
  ++made.allocations;
  cudaError_t error = CheckNoCapture();
  if (error == cudaSuccess) error = DeviceError();
  if (error != cudaSuccess) return error;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  *address = kind == MemoryKind::kDevice
                 ? AllocateDevice(CurrentDevice(), bytes)
                 : AllocatePinned(CurrentDevice(), bytes);
  return *address != nullptr ? cudaSuccess
                             : Remember(cudaErrorMemoryAllocation);
}

// Waits for the device's work, which may use it. Unlike the real one, for all
// of it also where pinned memory is released.
cudaError_t Release(void* address, MemoryKind kind) {
  if (address == nullptr) return cudaSuccess;
  RuntimeLock lock(RuntimeMutex());
  ++made.releases;
  const cudaError_t error = CheckNoCapture();
  if (error != cudaSuccess) return error;
  const Allocation* allocation = FindAllocation(address);
  if (allocation == nullptr) return Remember(cudaErrorInvalidValue);
  AwaitDevice(allocation->device, lock);
  if (!Free(address, kind)) return Remember(cudaErrorInvalidValue);
  return DeviceError();
}

}  // namespace

MemoryCalls MemoryCallsMade() {
  const RuntimeLock lock(RuntimeMutex());
  return made;
}

int64_t AllocatedBytes(int device) {
  const RuntimeLock lock(RuntimeMutex());
  return static_cast<int64_t>(BytesOf(device));
}

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaMalloc(void** address, size_t bytes) {
  return Allocate(address, bytes, MemoryKind::kDevice);
}
cudaError_t cudaFree(void* address) {
  return Release(address, MemoryKind::kDevice);
}
cudaError_t cudaMallocHost(void** address, size_t bytes) {
  return Allocate(address, bytes, MemoryKind::kPinned);
}
cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned flags) {
  constexpr unsigned kKnown =
      cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
  if ((flags & ~kKnown) != 0) return Remember(cudaErrorInvalidValue);
  return Allocate(address, bytes, MemoryKind::kPinned);
}
cudaError_t cudaFreeHost(void* address) {
  return Release(address, MemoryKind::kPinned);
}

cudaError_t cudaHostRegister(void* address, size_t bytes, unsigned) {
  const RuntimeLock lock(RuntimeMutex());
  if (address == nullptr || bytes == 0) return Remember(cudaErrorInvalidValue);
  if (!RegisterHost(address, bytes, CurrentDevice())) {
    return Remember(cudaErrorHostMemoryAlreadyRegistered);
  }
  return DeviceError();
}
cudaError_t cudaHostUnregister(void* address) {
  const RuntimeLock lock(RuntimeMutex());
  if (!Free(address, MemoryKind::kRegistered)) {
    return Remember(cudaErrorHostMemoryNotRegistered);
  }
  return DeviceError();
}
cudaError_t cudaHostGetDevicePointer(void** device_address, void* address,
                                     unsigned) {
  const RuntimeLock lock(RuntimeMutex());
  const Allocation* allocation = FindAllocation(address);
  if (allocation == nullptr || allocation->kind == MemoryKind::kDevice) {
    return Remember(cudaErrorInvalidValue);
  }
  *device_address = address;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes,
                                     const void* address) {
  const RuntimeLock lock(RuntimeMutex());
  const Allocation* allocation = FindAllocation(address);
  void* const pointer = const_cast<void*>(address);
  *attributes = {};
  attributes->type = cudaMemoryTypeUnregistered;
  attributes->device = -2;  // what the runtime says of unregistered memory
  attributes->hostPointer = pointer;
  if (allocation == nullptr) return cudaSuccess;
  const bool on_device = allocation->kind == MemoryKind::kDevice;
  attributes->type = on_device ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
  attributes->device = allocation->device;
  attributes->devicePointer = pointer;
  attributes->hostPointer = on_device ? nullptr : pointer;
  return cudaSuccess;
}

}  // extern "C"
