#include "worker/comm/buffer_pool.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

namespace caravan::worker {
namespace {

constexpr size_t kAlignment = 64;
constexpr int kSmallestClass = 10;  // 1 KiB
constexpr int kLargestClass = 31;   // 2 GiB, more than a message may have
// What is kept beyond this goes back to the system.
constexpr int64_t kMostKeptBytes = int64_t{256} << 20;

int ClassOf(int64_t bytes) {
  const uint64_t needed = std::max<int64_t>(bytes, 1);
  return std::max<int>(kSmallestClass, std::bit_width(needed - 1));
}

}  // namespace

// Free memory by classes of powers of two.
struct BufferPool::Store {
  ~Store() {
    for (auto& blocks : free) {
      for (std::byte* block : blocks) std::free(block);
    }
  }

  std::byte* Take(int size_class) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      std::vector<std::byte*>& blocks = free[size_class];
      if (!blocks.empty()) {
        std::byte* block = blocks.back();
        blocks.pop_back();
        kept_bytes -= int64_t{1} << size_class;
        return block;
      }
    }
    return static_cast<std::byte*>(
        std::aligned_alloc(kAlignment, size_t{1} << size_class));
  }

  void Give(std::byte* block, int size_class) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      const int64_t bytes = int64_t{1} << size_class;
      if (kept_bytes + bytes <= kMostKeptBytes) {
        kept_bytes += bytes;
        free[size_class].push_back(block);
        return;
      }
    }
    std::free(block);
  }

  std::mutex mutex;
  std::array<std::vector<std::byte*>, kLargestClass + 1> free;
  int64_t kept_bytes = 0;
};

BufferPool::BufferPool() : store_(std::make_shared<Store>()) {}

BufferPool::~BufferPool() = default;

SharedBuffer BufferPool::Acquire(int64_t bytes) {
  const int size_class = ClassOf(bytes);
  if (bytes < 0 || size_class > kLargestClass) return nullptr;
  std::byte* block = store_->Take(size_class);
  if (block == nullptr) return nullptr;
  return SharedBuffer(
      new MessageBuffer(block, bytes),
      [store = store_, size_class](const MessageBuffer* buffer) {
        store->Give(buffer->data(), size_class);
        delete buffer;
      });
}

SharedBuffer BufferPool::Copy(absl::Span<const std::byte> data) {
  SharedBuffer buffer = Acquire(static_cast<int64_t>(data.size()));
  if (buffer != nullptr && !data.empty()) {
    std::memcpy(buffer->data(), data.data(), data.size());
  }
  return buffer;
}

}  // namespace caravan::worker
