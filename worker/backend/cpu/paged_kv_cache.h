// Keys and values in blocks of 16 positions.
#ifndef CARAVAN_WORKER_BACKEND_CPU_PAGED_KV_CACHE_H_
#define CARAVAN_WORKER_BACKEND_CPU_PAGED_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/huge_memory.h"

namespace caravan::worker {

// For each layer, block and KV head: keys (head_dim, 16), then values (16,
// padded head_dim), so that scores have vector lanes across positions and
// weighted sums across the head's elements. Zeroed when made. Threads may write
// different positions or heads at a time.
class PagedKvCache final : public KvCache {
 public:
  // kInvalidArgument: a size below 1 or beyond what can be counted;
  // kResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<PagedKvCache>> Create(
      const KvCacheShape& shape);

  int64_t bytes() const override { return memory_.bytes(); }
  const KvCacheShape& shape() const { return shape_; }

  // Block 0 of one layer and head; block b lies b * block_stride() elements
  // further.
  const void* Head(int layer, int kv_head) const;
  int64_t block_stride() const { return shape_.num_kv_heads * head_size_; }

  struct Place {
    int layer = 0;
    int kv_head = 0;
    int64_t block = 0;
    int64_t position = 0;  // within the block
  };
  // key, value: (head_dim)
  void Write(const Place& place, const float* key, const float* value) const;

 private:
  PagedKvCache(const KvCacheShape& shape, HugeMemory memory);
  int64_t HeadBegin(int layer, int kv_head) const;

  const KvCacheShape shape_;
  const int64_t head_size_;  // elements of one head in one block
  HugeMemory memory_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_PAGED_KV_CACHE_H_
