// Devices: how many, what they are, which is current, who reaches whom.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

#include "tests/emulated_device/runtime/device_limits.h"
#include "tests/emulated_device/runtime/device_memory.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

bool IsDevice(int device) {
  return device >= 0 && device < GetSettings().num_devices;
}

// Those that the product asks for; false for others.
bool Attribute(cudaDeviceAttr attribute, int* value) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = DeviceLimits::kMajor;
      return true;
    case cudaDevAttrComputeCapabilityMinor:
      *value = DeviceLimits::kMinor;
      return true;
    case cudaDevAttrMultiProcessorCount:
      *value = DeviceLimits::kMultiprocessors;
      return true;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = DeviceLimits::kDefaultSharedBytes;
      return true;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = DeviceLimits::kMaxSharedBytes;
      return true;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = DeviceLimits::kSharedBytesPerMultiprocessor;
      return true;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = DeviceLimits::kMaxThreadsPerBlock;
      return true;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = DeviceLimits::kThreadsPerMultiprocessor;
      return true;
    case cudaDevAttrL2CacheSize:
      *value = DeviceLimits::kL2Bytes;
      return true;
    case cudaDevAttrWarpSize:
      *value = 32;
      return true;
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrUnifiedAddressing:
      *value = 1;
      return true;
    default:
      return false;
  }
}

cudaDeviceProp Properties(int device) {
  cudaDeviceProp properties = {};
  std::snprintf(properties.name, sizeof(properties.name), "Emulated Device %d",
                device);
  properties.totalGlobalMem = GetSettings().memory_bytes;
  properties.major = DeviceLimits::kMajor;
  properties.minor = DeviceLimits::kMinor;
  properties.multiProcessorCount = DeviceLimits::kMultiprocessors;
  properties.sharedMemPerBlock = DeviceLimits::kDefaultSharedBytes;
  properties.sharedMemPerBlockOptin = DeviceLimits::kMaxSharedBytes;
  properties.sharedMemPerMultiprocessor =
      DeviceLimits::kSharedBytesPerMultiprocessor;
  properties.maxThreadsPerBlock = DeviceLimits::kMaxThreadsPerBlock;
  properties.maxThreadsPerMultiProcessor =
      DeviceLimits::kThreadsPerMultiprocessor;
  properties.l2CacheSize = DeviceLimits::kL2Bytes;
  properties.warpSize = 32;
  properties.regsPerBlock = 65536;
  properties.cooperativeLaunch = 1;
  properties.unifiedAddressing = 1;
  properties.pciBusID = device + 1;
  std::memcpy(properties.uuid.bytes, "emulated", 8);
  properties.uuid.bytes[15] = static_cast<char>(device);
  return properties;
}

}  // namespace
}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = GetSettings().num_devices;
  return *count > 0 ? cudaSuccess : Remember(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  SetCurrentDevice(device);
  const RuntimeLock lock(RuntimeMutex());
  return DeviceError();
}

cudaError_t cudaGetDevice(int* device) {
  *device = CurrentDevice();
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  *properties = Properties(device);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute,
                                   int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  if (!Attribute(attribute, value)) return Remember(cudaErrorNotSupported);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  if (!IsDevice(device)) return Remember(cudaErrorInvalidDevice);
  constexpr int kLength = 13;
  if (length < kLength) return Remember(cudaErrorInvalidValue);
  std::snprintf(text, static_cast<size_t>(length), "0000:%02x:00.0",
                device + 1);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = DeviceLimits::kLeastPriority;
  *greatest = DeviceLimits::kGreatestPriority;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  RuntimeLock lock(RuntimeMutex());
  const cudaError_t error = CheckNoCapture();
  if (error != cudaSuccess) return error;
  AwaitDevice(CurrentDevice(), lock);
  CheckGuards();
  return DeviceError();
}

// Leaves memory and streams as they are: only the error goes, which lets a test
// go on after a fault.
cudaError_t cudaDeviceReset() {
  RuntimeLock lock(RuntimeMutex());
  AwaitDevice(CurrentDevice(), lock);
  Device& device = Runtime().devices[CurrentDevice()];
  device.error = cudaSuccess;
  device.fault.clear();
  lock.unlock();
  cudaGetLastError();
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const RuntimeLock lock(RuntimeMutex());
  *total = GetSettings().memory_bytes;
  *free = *total - Runtime().devices[CurrentDevice()].allocated_bytes;
  return DeviceError();
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  if (!IsDevice(device) || !IsDevice(peer)) {
    return Remember(cudaErrorInvalidDevice);
  }
  *can = device != peer;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetP2PAttribute(int* value, cudaDeviceP2PAttr attribute,
                                      int source, int target) {
  if (!IsDevice(source) || !IsDevice(target) || source == target) {
    return Remember(cudaErrorInvalidDevice);
  }
  *value = attribute == cudaDevP2PAttrAccessSupported ||
           attribute == cudaDevP2PAttrNativeAtomicSupported;
  return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  if (!IsDevice(peer) || peer == CurrentDevice()) {
    return Remember(cudaErrorInvalidDevice);
  }
  if (flags != 0) return Remember(cudaErrorInvalidValue);
  const RuntimeLock lock(RuntimeMutex());
  if (!Runtime().devices[CurrentDevice()].peers.insert(peer).second) {
    return Remember(cudaErrorPeerAccessAlreadyEnabled);
  }
  return DeviceError();
}

cudaError_t cudaDeviceDisablePeerAccess(int peer) {
  if (!IsDevice(peer)) return Remember(cudaErrorInvalidDevice);
  const RuntimeLock lock(RuntimeMutex());
  if (Runtime().devices[CurrentDevice()].peers.erase(peer) == 0) {
    return Remember(cudaErrorPeerAccessNotEnabled);
  }
  return DeviceError();
}

}  // extern "C"
