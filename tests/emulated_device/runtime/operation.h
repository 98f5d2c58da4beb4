// Enqueued work as a graph: an operation runs when all before it are done, and
// no earlier than someone needs it unless the policy says so.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_OPERATION_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_OPERATION_H_

#include <memory>
#include <mutex>
#include <vector>

#include "tests/emulated_device/runtime/work.h"

namespace caravan::emulated {

struct Operation;
using OperationPtr = std::shared_ptr<Operation>;

// Guarded by RuntimeMutex, but `work`, which belongs to who runs it.
struct Operation {
  int device = 0;
  WorkFactory make;
  std::vector<OperationPtr> after;
  std::unique_ptr<Work> work;
  bool running = false;
  bool done = false;
};

using RuntimeLock = std::unique_lock<std::mutex>;

// Makes it known to whoever looks for something to run.
void Submit(const OperationPtr& operation);
// Gives the policy its chance, after a call that submitted something.
void AfterSubmit(RuntimeLock& lock);
// Runs what the operation needs and itself, as far as can be done without
// waiting; true when it is done. Releases the lock meanwhile.
bool Advance(const OperationPtr& operation, RuntimeLock& lock);
// Until it is done. Whatever else could run in this process may have to, since
// it may be what this one waits for.
void Await(const OperationPtr& operation, RuntimeLock& lock);
// One step of what could run on a device.
void StepDevice(int device, RuntimeLock& lock);
// All of a device.
void AwaitDevice(int device, RuntimeLock& lock);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_OPERATION_H_
