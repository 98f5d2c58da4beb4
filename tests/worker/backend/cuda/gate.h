// Work in a stream that is done when the host says so.
#ifndef CARAVAN_TESTS_WORKER_BACKEND_CUDA_GATE_H_
#define CARAVAN_TESTS_WORKER_BACKEND_CUDA_GATE_H_

#include <cuda_runtime_api.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace caravan::worker::cuda {

// For streams that run in the background (StreamPolicy::kBackground). Outlives
// the work.
class Gate final {
 public:
  // False: the device's own thread does not come to stand before it. It must
  // before anybody queries the stream, who else could be what runs into it.
  [[nodiscard]] bool Close(cudaStream_t stream) {
    if (cudaLaunchHostFunc(stream, &Gate::Await, this) != cudaSuccess) {
      return false;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30),
                             [this] { return reached_; });
  }
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  static void Await(void* gate) {
    auto* self = static_cast<Gate*>(gate);
    std::unique_lock<std::mutex> lock(self->mutex_);
    self->reached_ = true;
    self->changed_.notify_all();
    self->changed_.wait(lock, [self] { return self->open_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  bool reached_ = false;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_TESTS_WORKER_BACKEND_CUDA_GATE_H_
