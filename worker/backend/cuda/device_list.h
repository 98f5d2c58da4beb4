// Which GPUs this machine has.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_DEVICE_LIST_H_
#define CARAVAN_WORKER_BACKEND_CUDA_DEVICE_LIST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace caravan::worker {

struct CudaDevice {
  std::string uuid;  // "GPU-...", as nvidia-smi and CUDA_VISIBLE_DEVICES say it
  std::string name;
  std::string pci_address;
  std::string compute_capability;  // "9.0"
  int64_t memory_bytes = 0;
  std::vector<std::string> peers;  // uuids: whose memory it can use, tried out
  // Those whose memory the driver says it can use, but what it copied there did
  // not arrive: IOMMU or PCIe access control is in the way.
  std::vector<std::string> broken_peers;
};

struct CudaDeviceList {
  std::string driver;  // the newest CUDA that it knows: "13.0"
  std::vector<CudaDevice> devices;
};

// Copies a megabyte between each two devices that are peers, so it takes some
// tenths of a second and their memory. kFailedPrecondition: no driver or no
// device, with what to do.
absl::StatusOr<CudaDeviceList> ListCudaDevices();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CUDA_DEVICE_LIST_H_
