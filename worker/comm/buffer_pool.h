// Memory for messages on their way.
#ifndef CARAVAN_WORKER_COMM_BUFFER_POOL_H_
#define CARAVAN_WORKER_COMM_BUFFER_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"

namespace caravan::worker {

// One message's bytes, aligned to 64. Shared by all who still need them: a
// transfer that was given up may outlive the call that began it.
class MessageBuffer final {
 public:
  MessageBuffer(std::byte* data, int64_t bytes) : data_(data), bytes_(bytes) {}

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  absl::Span<const std::byte> span() const {
    return {data_, static_cast<size_t>(bytes_)};
  }

 private:
  std::byte* data_;
  int64_t bytes_;
};
using SharedBuffer = std::shared_ptr<const MessageBuffer>;

// Keeps the memory of buffers that were let go, so that a step like the last
// one allocates nothing. Thread-safe; buffers may outlive the pool.
class BufferPool final {
 public:
  BufferPool();
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // Of undefined content. Null when memory is out.
  SharedBuffer Acquire(int64_t bytes);
  // Null when memory is out.
  SharedBuffer Copy(absl::Span<const std::byte> data);

 private:
  struct Store;
  std::shared_ptr<Store> store_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_BUFFER_POOL_H_
