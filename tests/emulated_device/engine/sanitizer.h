// What the sanitizers must be told about fibers and device memory.
//
// The emulation is built without any sanitizer and finds out when it runs
// whether the program has one: its functions are weak references. So one build
// of it serves kernels and tests of every kind, and its own workings, which a
// sanitizer could not follow, are never on trial.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_SANITIZER_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_SANITIZER_H_

#include <cstddef>

#define CARAVAN_WEAK __attribute__((weak))
extern "C" {
CARAVAN_WEAK void __asan_poison_memory_region(const volatile void*, size_t);
CARAVAN_WEAK void __asan_unpoison_memory_region(const volatile void*, size_t);
CARAVAN_WEAK void __asan_loadN(const void* address, size_t bytes);
CARAVAN_WEAK void __asan_storeN(const void* address, size_t bytes);
CARAVAN_WEAK void __sanitizer_start_switch_fiber(void** save, const void* to,
                                                 size_t bytes);
CARAVAN_WEAK void __sanitizer_finish_switch_fiber(void* save, const void** from,
                                                  size_t* bytes);
CARAVAN_WEAK void __tsan_acquire(void* object);
CARAVAN_WEAK void __tsan_release(void* object);
CARAVAN_WEAK void __tsan_read_range(void* address, unsigned long bytes);
CARAVAN_WEAK void __tsan_write_range(void* address, unsigned long bytes);
CARAVAN_WEAK void* __tsan_get_current_fiber();
CARAVAN_WEAK void* __tsan_create_fiber(unsigned flags);
CARAVAN_WEAK void __tsan_destroy_fiber(void* fiber);
CARAVAN_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
CARAVAN_WEAK void AnnotateIgnoreReadsBegin(const char* file, int line);
CARAVAN_WEAK void AnnotateIgnoreReadsEnd(const char* file, int line);
}
#undef CARAVAN_WEAK

namespace caravan::emulated {

inline bool HasAddressSanitizer() {
  return __asan_poison_memory_region != nullptr;
}
inline bool HasThreadSanitizer() { return __tsan_acquire != nullptr; }

inline void Poison(const void* address, size_t bytes) {
  if (HasAddressSanitizer()) __asan_poison_memory_region(address, bytes);
}
inline void Unpoison(const void* address, size_t bytes) {
  if (HasAddressSanitizer()) __asan_unpoison_memory_region(address, bytes);
}

// Accesses that are made on a kernel's behalf.
inline void NoteRead(const void* address, size_t bytes) {
  if (HasAddressSanitizer()) __asan_loadN(address, bytes);
  if (HasThreadSanitizer()) {
    __tsan_read_range(const_cast<void*>(address), bytes);
  }
}
inline void NoteWrite(void* address, size_t bytes) {
  if (HasAddressSanitizer()) __asan_storeN(address, bytes);
  if (HasThreadSanitizer()) __tsan_write_range(address, bytes);
}

// What one fiber did before the release happened before what another does after
// its acquire of the same object.
inline void Release(void* object) {
  if (HasThreadSanitizer()) __tsan_release(object);
}
inline void Acquire(void* object) {
  if (HasThreadSanitizer()) __tsan_acquire(object);
}

// Someone who knows nothing but what is passed on: orders what was released to
// one object before what acquires another, without the calling thread's coming
// to know of it. One thread.
class Witness final {
 public:
  Witness() = default;
  ~Witness() {
    if (fiber_ != nullptr) __tsan_destroy_fiber(fiber_);
  }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

  void PassOn(void* from, void* to) {
    if (!HasThreadSanitizer()) return;
    constexpr unsigned kNoSynchronization = 1;
    if (fiber_ == nullptr) fiber_ = __tsan_create_fiber(0);
    void* const self = __tsan_get_current_fiber();
    // Only in name: the stack stays.
    __tsan_switch_to_fiber(fiber_, kNoSynchronization);
    Acquire(from);
    Release(to);
    __tsan_switch_to_fiber(self, kNoSynchronization);
  }

 private:
  void* fiber_ = nullptr;
};

// While one lives, what library functions access for this fiber is the engine's
// own: only the fiber that runs touches it, which the sanitizer cannot know.
class EngineScope final {
 public:
  EngineScope() {
    if (HasThreadSanitizer()) AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  }
  ~EngineScope() {
    if (HasThreadSanitizer()) AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  EngineScope(const EngineScope&) = delete;
  EngineScope& operator=(const EngineScope&) = delete;
};

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_ENGINE_SANITIZER_H_
