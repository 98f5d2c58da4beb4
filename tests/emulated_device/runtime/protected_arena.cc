#include "tests/emulated_device/runtime/protected_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace caravan::emulated {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 256;  // cudaMalloc's
constexpr size_t kAddresses = size_t{1} << 38;
constexpr unsigned char kCanary = 0xc5;

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

bool IsCanary(const char* begin, const char* end) {
  return std::all_of(begin, end, [](char c) {
    return static_cast<unsigned char>(c) == kCanary;
  });
}

}  // namespace

void* ProtectedArena::Allocate(size_t bytes) {
  if (base_ == nullptr) {
    void* memory = mmap(nullptr, kAddresses, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      std::perror("emulated device: no addresses for protected memory");
      std::abort();
    }
    base_ = static_cast<char*>(memory);
    used_ = kPage;
  }
  const size_t body = RoundUp(bytes, kAlignment);
  const Buffer buffer = {base_ + used_, RoundUp(body, kPage), bytes};
  used_ += buffer.pages_bytes + kPage;
  Protect(buffer, /*open=*/true);
  char* address = buffer.pages + buffer.pages_bytes - body;
  std::memset(buffer.pages, kCanary, buffer.pages_bytes);
  std::memset(address, 0xff, bytes);
  if (openers_ == 0) Protect(buffer, /*open=*/false);
  buffers_[address] = buffer;
  return address;
}

bool ProtectedArena::Free(void* address) {
  const auto found = buffers_.find(static_cast<char*>(address));
  const Buffer buffer = found->second;
  Protect(buffer, /*open=*/true);
  const bool intact =
      IsCanary(buffer.pages, found->first) &&
      IsCanary(found->first + buffer.bytes, buffer.pages + buffer.pages_bytes);
  Protect(buffer, /*open=*/false);
  madvise(buffer.pages, buffer.pages_bytes, MADV_DONTNEED);
  buffers_.erase(found);
  return intact;
}

void ProtectedArena::Protect(const Buffer& buffer, bool open) const {
  mprotect(buffer.pages, buffer.pages_bytes,
           open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void ProtectedArena::Open() {
  if (openers_++ > 0) return;
  for (const auto& [address, buffer] : buffers_) Protect(buffer, true);
}

void ProtectedArena::Close() {
  if (--openers_ > 0) return;
  for (const auto& [address, buffer] : buffers_) Protect(buffer, false);
}

bool ProtectedArena::Contains(const void* address) const {
  const char* position = static_cast<const char*>(address);
  return base_ != nullptr && position >= base_ && position < base_ + kAddresses;
}

}  // namespace caravan::emulated
