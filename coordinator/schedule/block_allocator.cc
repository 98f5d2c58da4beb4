#include "coordinator/schedule/block_allocator.h"

#include <algorithm>

#include "base/check.h"

namespace caravan::coordinator {

BlockAllocator::BlockAllocator(int64_t num_blocks)
    : in_use_(std::max<int64_t>(num_blocks, 0)) {
  free_.reserve(in_use_.size());
  for (int64_t block = num_blocks - 1; block >= 0; --block) {
    free_.push_back(static_cast<int32_t>(block));
  }
}

void BlockAllocator::Allocate(int64_t count, std::vector<int32_t>* blocks) {
  CARAVAN_CHECK(count >= 0 && count <= num_free());
  for (int64_t i = 0; i < count; ++i) {
    const int32_t block = free_.back();
    free_.pop_back();
    in_use_[block] = true;
    blocks->push_back(block);
  }
}

void BlockAllocator::Free(absl::Span<const int32_t> blocks) {
  for (const int32_t block : blocks) {
    CARAVAN_CHECK(block >= 0 && block < num_blocks() && in_use_[block]);
    in_use_[block] = false;
    free_.push_back(block);
  }
}

}  // namespace caravan::coordinator
