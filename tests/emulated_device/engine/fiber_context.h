// A point of execution with a stack of its own, and the switch between two.
//
// A switch saves the registers that a function must preserve and changes the
// stack pointer: about 20 ns. x86-64 only.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_FIBER_CONTEXT_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_FIBER_CONTEXT_H_

#include <cstddef>

namespace caravan::emulated {

// Default-constructed, it stands for the operating system's thread that runs
// on it; after Prepare, for a new execution of an entry function. Belongs to
// one thread.
class FiberContext final {
 public:
  FiberContext() = default;
  ~FiberContext();
  FiberContext(const FiberContext&) = delete;
  FiberContext& operator=(const FiberContext&) = delete;

  // The next switch to this context calls `entry`, which never returns. Makes
  // the stack the first time; what ran here before is forgotten.
  void Prepare(void (*entry)());
  // For a context whose execution was abandoned: the next Prepare begins anew.
  void Discard();

  // Continues `to`; returns when something switches back. `ended`: nothing
  // will.
  void SwitchTo(FiberContext& to, bool ended);

  // First thing in an entry function: `thread` is the thread's own context.
  static void Enter(FiberContext& thread);
  // For the context that stands for a thread, before it switches.
  void BindToThread();

  // True for an address just below the stack.
  bool IsStackOverflow(const void* address) const;

 private:
  bool owns_stack_ = false;
  char* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void* stack_pointer_ = nullptr;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
  void* tsan_fiber_ = nullptr;
};

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_FIBER_CONTEXT_H_
