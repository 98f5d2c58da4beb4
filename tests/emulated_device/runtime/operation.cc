#include "tests/emulated_device/runtime/operation.h"

#include <chrono>
#include <condition_variable>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "tests/emulated_device/control.h"
#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/engine/sanitizer.h"
#include "tests/emulated_device/runtime/device_memory.h"
#include "tests/emulated_device/runtime/fault_signals.h"
#include "tests/emulated_device/runtime/runtime_state.h"

namespace caravan::emulated {
namespace {

constexpr auto kIdlePause = std::chrono::microseconds(50);

struct Queue {
  std::set<OperationPtr> open;
  StreamPolicy policy = GetSettings().stream_policy;
  std::minstd_rand random{1};
  bool driver_runs = false;
  std::condition_variable submitted;
};
Queue& GetQueue() {
  static Queue* queue = new Queue;  // outlives detached threads
  return *queue;
}

std::vector<OperationPtr> Open() {
  const Queue& queue = GetQueue();
  return {queue.open.begin(), queue.open.end()};
}

const OperationPtr* FirstPending(const Operation& operation) {
  for (const OperationPtr& before : operation.after) {
    if (!before->done) return &before;
  }
  return nullptr;
}

// Runs the work with its device current and that device's memory open.
bool RunWork(Operation& operation) {
  const int previous = CurrentDevice();
  SetCurrentDevice(operation.device);
  InstallFaultSignals();
  bool finished = false;
  {
    DeviceMemoryScope scope(operation.device);
    if (operation.work == nullptr) operation.work = operation.make();
    finished = operation.work->Advance();
  }
  SetCurrentDevice(previous);
  return finished;
}

// One step of an operation before which nothing is pending.
bool Step(const OperationPtr& operation, RuntimeLock& lock) {
  if (operation->done) return true;
  if (operation->running || FirstPending(*operation) != nullptr) return false;
  operation->running = true;
  bool finished = true;
  if (Runtime().devices[operation->device].error == cudaSuccess) {
    lock.unlock();
    finished = RunWork(*operation);
    lock.lock();
  }
  operation->running = false;
  if (finished) {
    operation->done = true;
    // A kernel's threads have read it, of which this one need not know.
    const EngineScope scope;
    operation->work = nullptr;
    operation->make = nullptr;
    operation->after.clear();
    GetQueue().open.erase(operation);
  }
  return finished;
}

// One step of each; true if any finished.
bool StepAll(const std::vector<OperationPtr>& operations, RuntimeLock& lock) {
  bool any = false;
  for (const OperationPtr& operation : operations) {
    if (!operation->done && Step(operation, lock)) any = true;
  }
  return any;
}

// Under another policy it only waits: work that others left to the host's waits
// would run too early.
void Drive() {
  RuntimeLock lock(RuntimeMutex());
  Queue& queue = GetQueue();
  for (;;) {
    if (queue.policy != StreamPolicy::kBackground || !StepAll(Open(), lock)) {
      queue.submitted.wait_for(lock, kIdlePause * 4);
    }
  }
}

}  // namespace

void Submit(const OperationPtr& operation) {
  GetQueue().open.insert(operation);
}

void AfterSubmit(RuntimeLock& lock) {
  Queue& queue = GetQueue();
  switch (queue.policy) {
    case StreamPolicy::kLazy:
      return;
    case StreamPolicy::kEager:
      while (StepAll(Open(), lock)) {
      }
      return;
    case StreamPolicy::kRandom:
      for (const OperationPtr& operation : Open()) {
        if (queue.random() % 2 == 0) Step(operation, lock);
      }
      return;
    case StreamPolicy::kBackground:
      if (!queue.driver_runs) {
        queue.driver_runs = true;
        std::thread(Drive).detach();
      }
      queue.submitted.notify_one();
      return;
  }
}

bool Advance(const OperationPtr& operation, RuntimeLock& lock) {
  std::vector<OperationPtr> path = {operation};
  while (!path.empty()) {
    const OperationPtr next = path.back();
    const OperationPtr* pending = next->done ? nullptr : FirstPending(*next);
    if (pending != nullptr) {
      path.push_back(*pending);
    } else if (Step(next, lock)) {
      path.pop_back();
    } else {
      return false;
    }
  }
  return true;
}

void Await(const OperationPtr& operation, RuntimeLock& lock) {
  while (operation != nullptr && !Advance(operation, lock)) {
    if (StepAll(Open(), lock)) continue;
    lock.unlock();
    std::this_thread::sleep_for(kIdlePause);
    lock.lock();
  }
  SeeGridEnds();
}

void StepDevice(int device, RuntimeLock& lock) {
  std::vector<OperationPtr> operations = Open();
  std::erase_if(operations, [device](const OperationPtr& operation) {
    return operation->device != device;
  });
  StepAll(operations, lock);
}

void AwaitDevice(int device, RuntimeLock& lock) {
  for (const OperationPtr& operation : Open()) {
    if (operation->device == device) Await(operation, lock);
  }
  SeeGridEnds();
}

void SetStreamPolicy(StreamPolicy policy, uint64_t seed) {
  RuntimeLock lock(RuntimeMutex());
  GetQueue().policy = policy;
  GetQueue().random.seed(static_cast<unsigned>(seed + 1));
}

}  // namespace caravan::emulated
