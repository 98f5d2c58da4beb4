// Values on the device, for tests that run on the emulated and on real ones.
#ifndef CARAVAN_TESTS_WORKER_BACKEND_CUDA_DEVICE_VECTOR_H_
#define CARAVAN_TESTS_WORKER_BACKEND_CUDA_DEVICE_VECTOR_H_

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace caravan::worker::cuda {

// On the device that is current when it is made. A failing call fails the test.
template <typename T>
class DeviceVector final {
 public:
  // Left as it comes from the device.
  explicit DeviceVector(size_t size) : size_(size) {
    void* memory = nullptr;
    Check(cudaMalloc(&memory, size * sizeof(T)));
    data_ = static_cast<T*>(memory);
  }
  explicit DeviceVector(const std::vector<T>& values)
      : DeviceVector(values.size()) {
    Set(values);
  }
  ~DeviceVector() { cudaFree(data_); }
  DeviceVector(const DeviceVector&) = delete;
  DeviceVector& operator=(const DeviceVector&) = delete;

  void Set(const std::vector<T>& values) {
    ASSERT_EQ(values.size(), size_);
    Check(cudaMemcpy(data_, values.data(), size_ * sizeof(T),
                     cudaMemcpyHostToDevice));
  }
  // Waits for the default stream only: synchronize others first.
  std::vector<T> Get() const {
    std::vector<T> values(size_);
    Check(cudaMemcpy(values.data(), data_, size_ * sizeof(T),
                     cudaMemcpyDeviceToHost));
    return values;
  }
  T* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  static void Check(cudaError_t error) {
    EXPECT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
  }

  T* data_ = nullptr;
  const size_t size_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_TESTS_WORKER_BACKEND_CUDA_DEVICE_VECTOR_H_
