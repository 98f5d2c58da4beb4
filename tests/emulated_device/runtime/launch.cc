// Kernels: their launch, attributes and occupancy.
#include "tests/emulated_device/runtime/launch.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <utility>

#include "tests/emulated_device/control.h"
#include "tests/emulated_device/runtime/device_limits.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

constexpr unsigned kMaxGridYz = 65535;
constexpr unsigned kMaxBlockZ = 64;

std::atomic<int64_t> kernels_run = 0;
// The fault to inject: how many kernels before it, and what.
std::atomic<int> kernels_before_fault = -1;
std::atomic<cudaError_t> injected_error = cudaSuccess;

// (device, kernel) -> dynamic shared bytes that it may have.
std::map<std::pair<int, const void*>, int>& AllowedSharedBytes() {
  static auto* allowed = new std::map<std::pair<int, const void*>, int>;
  return *allowed;
}

int SharedBytesLimit(const void* kernel) {
  const auto found = AllowedSharedBytes().find({CurrentDevice(), kernel});
  return found != AllowedSharedBytes().end()
             ? found->second
             : DeviceLimits::kDefaultSharedBytes;
}

size_t BlocksPerMultiprocessor(size_t threads, size_t shared_bytes) {
  const size_t by_threads =
      DeviceLimits::kThreadsPerMultiprocessor / ((threads + 31) / 32 * 32);
  const size_t by_shared = DeviceLimits::kSharedBytesPerMultiprocessor /
                           (shared_bytes + DeviceLimits::kReservedSharedBytes);
  return std::min(
      {by_threads, by_shared, size_t{DeviceLimits::kBlocksPerMultiprocessor}});
}

cudaError_t CheckShape(const void* kernel, const GridLaunch& launch) {
  const dim3& grid = launch.grid;
  const dim3& block = launch.block;
  const size_t threads = size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > DeviceLimits::kMaxThreadsPerBlock ||
      block.z > kMaxBlockZ || grid.x == 0 || grid.x > 0x7fffffffu ||
      grid.y == 0 || grid.y > kMaxGridYz || grid.z == 0 ||
      grid.z > kMaxGridYz) {
    return cudaErrorInvalidConfiguration;
  }
  if (launch.shared_bytes > static_cast<size_t>(SharedBytesLimit(kernel))) {
    return cudaErrorInvalidValue;
  }
  const size_t resident =
      BlocksPerMultiprocessor(threads, launch.shared_bytes) *
      DeviceLimits::kMultiprocessors;
  if (launch.cooperative && size_t{grid.x} * grid.y * grid.z > resident) {
    return cudaErrorCooperativeLaunchTooLarge;
  }
  return cudaSuccess;
}

void RunKernel(const GridLaunch& launch, const std::function<void()>& body) {
  ++kernels_run;
  if (kernels_before_fault >= 0 && kernels_before_fault-- == 0) {
    FailDevice(CurrentDevice(), injected_error, "injected fault");
    return;
  }
  GridResult result = RunGrid(launch, body);
  if (result.error != cudaSuccess) {
    FailDevice(CurrentDevice(), result.error, std::move(result.fault));
  }
}

class KernelWork final : public Work {
 public:
  KernelWork(const GridLaunch& launch, const std::function<void()>& body)
      : launch_(launch), body_(body) {}
  bool Advance() override {
    RunKernel(launch_, body_);
    return true;
  }

 private:
  const GridLaunch launch_;
  const std::function<void()> body_;
};

}  // namespace

cudaError_t EnqueueKernel(const void* kernel, const GridLaunch& launch,
                          cudaStream_t stream, std::function<void()> body) {
  {
    const RuntimeLock lock(RuntimeMutex());
    const cudaStream_t resolved = ResolveStream(stream);
    if (resolved == nullptr || resolved->device != CurrentDevice()) {
      return Remember(cudaErrorInvalidResourceHandle);
    }
    const cudaError_t error = CheckShape(kernel, launch);
    if (error != cudaSuccess) return Remember(error);
  }
  return EnqueueWork(stream, [launch, body = std::move(body)] {
    return std::make_unique<KernelWork>(launch, body);
  });
}

void InjectKernelFault(int kernels, cudaError_t error) {
  injected_error = error;
  kernels_before_fault = kernels;
}

int64_t KernelsRun() { return kernels_run; }

}  // namespace caravan::emulated

using namespace caravan::emulated;  // NOLINT(google-build-using-namespace)

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* kernel,
                                 cudaFuncAttribute attribute, int value) {
  const RuntimeLock lock(RuntimeMutex());
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) {
    return DeviceError();  // a hint
  }
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      value > DeviceLimits::kMaxSharedBytes) {
    return Remember(cudaErrorInvalidValue);
  }
  AllowedSharedBytes()[{CurrentDevice(), kernel}] = value;
  return DeviceError();
}

// Registers and static shared memory are not known here: the nvcc build says.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes,
                                  const void* kernel) {
  const RuntimeLock lock(RuntimeMutex());
  *attributes = {};
  attributes->maxThreadsPerBlock = DeviceLimits::kMaxThreadsPerBlock;
  attributes->maxDynamicSharedSizeBytes = SharedBytesLimit(kernel);
  return DeviceError();
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int* blocks, const void* kernel, int threads, size_t shared_bytes,
    unsigned) {
  const RuntimeLock lock(RuntimeMutex());
  if (threads <= 0 || threads > DeviceLimits::kMaxThreadsPerBlock ||
      shared_bytes > static_cast<size_t>(SharedBytesLimit(kernel))) {
    return Remember(cudaErrorInvalidValue);
  }
  *blocks = static_cast<int>(
      BlocksPerMultiprocessor(static_cast<size_t>(threads), shared_bytes));
  return DeviceError();
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks,
                                                          const void* kernel,
                                                          int threads,
                                                          size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
      blocks, kernel, threads, shared_bytes, cudaOccupancyDefault);
}

}  // extern "C"
