// How an engine binary tells an agent which devices it finds.
#ifndef CARAVAN_WORKER_ENGINE_DEVICE_REPORT_H_
#define CARAVAN_WORKER_ENGINE_DEVICE_REPORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_list.h"

namespace caravan::worker {

// One line of JSON, without its end, which worker/agent/gpu_inventory.h reads;
// an error becomes its "problem".
std::string DeviceReport(const absl::StatusOr<CudaDeviceList>& list);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_ENGINE_DEVICE_REPORT_H_
