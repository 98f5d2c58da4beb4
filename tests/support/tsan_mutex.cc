// Tells ThreadSanitizer about absl::Mutex. Debian's abseil is a shared library
// built without it, so the orderings that a mutex makes are invisible and every
// access under one would be reported. Our calls are wrapped by the linker
// (CMakeLists.txt); only the `tsan` preset compiles this.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

// Inside the library other threads' conditions are evaluated, by whoever holds
// the mutex: in order, but after this thread has told of its release.
class InLibrary final {
 public:
  InLibrary() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~InLibrary() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

// A wait releases the mutex and acquires it again.
template <typename Wait>
auto WaitOn(absl::Mutex* mutex, const Wait& wait) {
  __tsan_release(mutex);
  const auto result = [&] {
    InLibrary in_library;
    return wait();
  }();
  __tsan_acquire(mutex);
  return result;
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the linker's names.
#define CARAVAN_WRAP(result, name, ...)         \
  extern "C" result __real_##name(__VA_ARGS__); \
  extern "C" result __wrap_##name(__VA_ARGS__)

CARAVAN_WRAP(void, _ZN4absl7debian35Mutex4LockEv, absl::Mutex* mutex) {
  {
    InLibrary in_library;
    __real__ZN4absl7debian35Mutex4LockEv(mutex);
  }
  __tsan_acquire(mutex);
}

CARAVAN_WRAP(void, _ZN4absl7debian35Mutex6UnlockEv, absl::Mutex* mutex) {
  __tsan_release(mutex);
  InLibrary in_library;
  __real__ZN4absl7debian35Mutex6UnlockEv(mutex);
}

CARAVAN_WRAP(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE,
             absl::Mutex* mutex, const absl::Condition& condition) {
  WaitOn(mutex, [&] {
    __real__ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE(mutex, condition);
    return true;
  });
}

CARAVAN_WRAP(
    bool,
    _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
    absl::Mutex* mutex, const absl::Condition& condition,
    absl::Duration timeout) {
  return WaitOn(mutex, [&] {
    return __real__ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE(
        mutex, condition, timeout);
  });
}

CARAVAN_WRAP(
    bool, _ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE,
    absl::Mutex* mutex, const absl::Condition& condition, absl::Time deadline) {
  return WaitOn(mutex, [&] {
    return __real__ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE(
        mutex, condition, deadline);
  });
}

CARAVAN_WRAP(void, _ZN4absl7debian312Notification6NotifyEv,
             absl::Notification* notification) {
  __tsan_release(notification);
  __real__ZN4absl7debian312Notification6NotifyEv(notification);
}

CARAVAN_WRAP(void, _ZNK4absl7debian312Notification19WaitForNotificationEv,
             absl::Notification* notification) {
  __real__ZNK4absl7debian312Notification19WaitForNotificationEv(notification);
  __tsan_acquire(notification);
}

CARAVAN_WRAP(
    bool,
    _ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE,
    absl::Notification* notification, absl::Duration timeout) {
  const bool notified =
      __real__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
          notification, timeout);
  __tsan_acquire(notification);
  return notified;
}
// NOLINTEND(readability-identifier-naming)
