// Which KV blocks are in use: numbers, not memory. One numbering for all ranks.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_BLOCK_ALLOCATOR_H_
#define CARAVAN_COORDINATOR_SCHEDULE_BLOCK_ALLOCATOR_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace caravan::coordinator {

// Blocks 0 to num_blocks - 1, all free at first. The block freed last is handed
// out first. Not thread-safe.
class BlockAllocator final {
 public:
  explicit BlockAllocator(int64_t num_blocks);

  int64_t num_blocks() const { return static_cast<int64_t>(in_use_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t num_used() const { return num_blocks() - num_free(); }

  // Appends `count` blocks to `blocks`; there must be as many free ones.
  void Allocate(int64_t count, std::vector<int32_t>* blocks);

  // `blocks` must be in use.
  void Free(absl::Span<const int32_t> blocks);

 private:
  std::vector<int32_t> free_;  // a stack
  std::vector<bool> in_use_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_BLOCK_ALLOCATOR_H_
