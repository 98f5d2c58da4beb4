// What a stream executes, for those who add kinds of it: kernels, copies, and
// the emulated libraries.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_WORK_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_WORK_H_

#include <driver_types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace caravan::emulated {

// One piece of work that has begun. It belongs to one thread at a time.
class Work {
 public:
  virtual ~Work() = default;
  // Goes on as far as it can without waiting for others; true when finished.
  // Device memory is open meanwhile.
  virtual bool Advance() = 0;
};

// Begins the work; again for each launch of a graph that holds it.
using WorkFactory = std::function<std::unique_ptr<Work>()>;

// Appends to the stream, or to the graph that it is capturing.
cudaError_t EnqueueWork(cudaStream_t stream, WorkFactory make);
// Work that one call does.
cudaError_t EnqueueFunction(cudaStream_t stream, std::function<void()> run);

// An error that a later call on the device reports, and every call after it;
// the first one counts. Work of a failed device is dropped.
void FailDevice(int device, cudaError_t error, std::string why);
// Why the device failed; empty if it has not.
std::string DeviceFault(int device);

// The calling thread's device.
int CurrentDevice();
// The device that a stream belongs to.
int StreamDevice(cudaStream_t stream);

// Keeps another device's memory open beside the current one's while it lives.
class MemoryScope final {
 public:
  explicit MemoryScope(int device);
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

 private:
  const int device_;
};

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_WORK_H_
