#include "worker/backend/cuda/device_list.h"

#include <cuda_runtime_api.h>

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/device_memory.h"

namespace caravan::worker {
namespace {

using cuda::CudaStatus;
using cuda::DeviceMemory;

constexpr size_t kProbeBytes = size_t{1} << 20;

std::string FormatUuid(const cudaUUID_t& uuid) {
  const std::string hex =
      absl::BytesToHexString(absl::string_view(uuid.bytes, sizeof(uuid.bytes)));
  return absl::StrCat("GPU-", hex.substr(0, 8), "-", hex.substr(8, 4), "-",
                      hex.substr(12, 4), "-", hex.substr(16, 4), "-",
                      hex.substr(20));
}

absl::StatusOr<CudaDevice> Describe(int index) {
  cudaDeviceProp properties;
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties"));
  char pci_address[32] = {};
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaDeviceGetPCIBusId(pci_address, sizeof(pci_address), index),
                 "cudaDeviceGetPCIBusId"));
  return CudaDevice{
      .uuid = FormatUuid(properties.uuid),
      .name = properties.name,
      .pci_address = pci_address,
      .compute_capability =
          absl::StrCat(properties.major, ".", properties.minor),
      .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem)};
}

absl::Status AllowPeer(int device, int peer) {
  CARAVAN_RETURN_IF_ERROR(CudaStatus(cudaSetDevice(device), "cudaSetDevice"));
  const cudaError_t error = cudaDeviceEnablePeerAccess(peer, 0);
  if (error == cudaErrorPeerAccessAlreadyEnabled) {
    cudaGetLastError();
    return absl::OkStatus();
  }
  return CudaStatus(error, "cudaDeviceEnablePeerAccess");
}

absl::StatusOr<DeviceMemory> MemoryOf(int device) {
  CARAVAN_RETURN_IF_ERROR(CudaStatus(cudaSetDevice(device), "cudaSetDevice"));
  return DeviceMemory::Create(kProbeBytes);
}

// Whether what `device` writes to the memory of `peer` is there.
absl::StatusOr<bool> DataArrives(int device, int peer) {
  CARAVAN_RETURN_IF_ERROR(AllowPeer(device, peer));
  CARAVAN_ASSIGN_OR_RETURN(const DeviceMemory from, MemoryOf(device));
  CARAVAN_ASSIGN_OR_RETURN(const DeviceMemory to, MemoryOf(peer));
  std::string sent(kProbeBytes, '\0');
  for (size_t i = 0; i < sent.size(); ++i) {
    sent[i] = static_cast<char>(i * 31 + i / 255 + device * 7 + 1);
  }
  std::string received(kProbeBytes, '\0');
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemset(to.data(), 0, kProbeBytes), "cudaMemset"));
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaMemcpy(from.data(), sent.data(), kProbeBytes, cudaMemcpyHostToDevice),
      "cudaMemcpy"));
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      cudaMemcpyPeer(to.data(), peer, from.data(), device, kProbeBytes),
      "cudaMemcpyPeer"));
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemcpy(received.data(), to.data(), kProbeBytes,
                            cudaMemcpyDeviceToHost),
                 "cudaMemcpy"));
  return received == sent;
}

absl::Status FindPeers(int index, std::vector<CudaDevice>& devices) {
  for (int peer = 0; peer < static_cast<int>(devices.size()); ++peer) {
    int can = 0;
    if (peer == index) continue;
    CARAVAN_RETURN_IF_ERROR(CudaStatus(
        cudaDeviceCanAccessPeer(&can, index, peer), "cudaDeviceCanAccessPeer"));
    if (can == 0) continue;
    CARAVAN_ASSIGN_OR_RETURN(const bool arrives, DataArrives(index, peer));
    (arrives ? devices[index].peers : devices[index].broken_peers)
        .push_back(devices[peer].uuid);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CudaDeviceList> ListCudaDevices() {
  CudaDeviceList list;
  int version = 0;
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaDriverGetVersion(&version), "cudaDriverGetVersion"));
  if (version > 0) {
    list.driver = absl::StrCat(version / 1000, ".", version % 1000 / 10);
  }
  int count = 0;
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaGetDeviceCount(&count), "cudaGetDeviceCount"));
  for (int index = 0; index < count; ++index) {
    CARAVAN_ASSIGN_OR_RETURN(CudaDevice device, Describe(index));
    list.devices.push_back(std::move(device));
  }
  for (int index = 0; index < count; ++index) {
    CARAVAN_RETURN_IF_ERROR(
        Annotate(FindPeers(index, list.devices), absl::StrCat("GPU ", index)));
  }
  return list;
}

}  // namespace caravan::worker
