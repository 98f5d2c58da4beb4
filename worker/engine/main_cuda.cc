// caravan-engine-cuda: one rank on an NVIDIA GPU. Started by an agent; with
// --devices it tells which GPUs there are.

#include <cstdio>
#include <cstring>
#include <string>

#include "worker/backend/cuda/device_list.h"
#include "worker/comm/nccl/nccl_world.h"
#include "worker/engine/cuda_platform.h"
#include "worker/engine/device_report.h"
#include "worker/engine/engine_main.h"

int main(int argc, char** argv) {
  namespace worker = caravan::worker;
  if (argc > 1 && std::strcmp(argv[1], "--devices") == 0) {
    const auto devices = worker::ListCudaDevices();
    std::puts(worker::DeviceReport(devices).c_str());
    return devices.ok() ? 0 : 1;
  }
  worker::SetNcclEnvironment();
  worker::EngineMain(argc, argv, *worker::CreateCudaPlatform());
}
