// A device's memory in protected mode: addresses that fault unless it is open.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_PROTECTED_ARENA_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_PROTECTED_ARENA_H_

#include <cstddef>
#include <map>

namespace caravan::emulated {

// Guarded by its owner's mutex. Never destroyed.
class ProtectedArena final {
 public:
  // Between two pages that stay closed, ending at the second if the size
  // allows; addresses are never given out again.
  void* Allocate(size_t bytes);
  // False if something was written between the buffer and its closed pages.
  bool Free(void* address);

  // Nested; closed when the last opener closes.
  void Open();
  void Close();
  bool Contains(const void* address) const;

 private:
  struct Buffer {
    char* pages;
    size_t pages_bytes;
    size_t bytes;
  };
  void Protect(const Buffer& buffer, bool open) const;

  char* base_ = nullptr;
  size_t used_ = 0;
  int openers_ = 0;
  std::map<char*, Buffer> buffers_;
};

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_PROTECTED_ARENA_H_
