#include "worker/engine/device_report.h"

#include "nlohmann/json.hpp"

namespace caravan::worker {

std::string DeviceReport(const absl::StatusOr<CudaDeviceList>& list) {
  nlohmann::json report = {
      {"driver", ""}, {"problem", ""}, {"devices", nlohmann::json::array()}};
  if (!list.ok()) {
    report["problem"] = std::string(list.status().message());
  } else {
    report["driver"] = list->driver;
    for (const CudaDevice& device : list->devices) {
      report["devices"].push_back(
          {{"uuid", device.uuid},
           {"name", device.name},
           {"pci_address", device.pci_address},
           {"compute_capability", device.compute_capability},
           {"memory_bytes", device.memory_bytes},
           {"peers", device.peers},
           {"broken_peers", device.broken_peers}});
    }
  }
  // Names come from the driver: bytes that are no text must not throw.
  return report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace caravan::worker
