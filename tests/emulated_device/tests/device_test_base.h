// What the emulated device's own tests share.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_TESTS_DEVICE_TEST_BASE_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_TESTS_DEVICE_TEST_BASE_H_

#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/emulated_device/control.h"
#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/device.cuh"

namespace caravan::emulated {

using worker::cuda::DeviceVector;
using worker::cuda::Launch;
using worker::cuda::LaunchShape;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Device 0 is current, without errors, and streams are lazy, before and after.
class DeviceTest : public testing::Test {
 protected:
  void SetUp() override { Restore(); }
  void TearDown() override {
    cudaDeviceSynchronize();
    EXPECT_EQ(DeviceFault(0), "");
    Restore();
  }

  // Launches and waits.
  template <typename... Parameters, typename... Arguments>
  cudaError_t Run(void (*kernel)(Parameters...), const LaunchShape& shape,
                  Arguments&&... arguments) {
    const cudaError_t error =
        Launch(kernel, shape, nullptr, std::forward<Arguments>(arguments)...);
    return error != cudaSuccess ? error : cudaDeviceSynchronize();
  }
  // The fault of device 0, which is forgotten.
  std::string TakeFault() {
    std::string fault = DeviceFault(0);
    cudaDeviceReset();
    return fault;
  }

 private:
  void Restore() {
    cudaSetDevice(0);
    cudaDeviceReset();
    SetStreamPolicy(StreamPolicy::kLazy, 0);
  }
};

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_TESTS_DEVICE_TEST_BASE_H_
