#include "worker/backend/cpu/paged_kv_cache.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

// No model has larger heads; it keeps the arithmetic on them small.
constexpr int64_t kLargestHead = 4096;

int64_t HeadFloats(int64_t head_dim) {
  return cpu::kBlockPositions * (head_dim + cpu::PaddedHeadDim(head_dim));
}

}  // namespace

PagedKvCache::PagedKvCache(const KvCacheShape& shape, HugeMemory memory)
    : shape_(shape),
      head_floats_(HeadFloats(shape.head_dim)),
      memory_(std::move(memory)) {}

absl::StatusOr<std::unique_ptr<PagedKvCache>> PagedKvCache::Create(
    const KvCacheShape& shape) {
  if (shape.num_layers < 1 || shape.num_blocks < 1 || shape.num_kv_heads < 1 ||
      shape.head_dim < 2 || shape.head_dim % 2 != 0 ||
      shape.head_dim > kLargestHead) {
    return absl::InvalidArgumentError(absl::StrCat(
        "KV cache of an impossible shape: num_layers=", shape.num_layers,
        " num_blocks=", shape.num_blocks, " num_kv_heads=", shape.num_kv_heads,
        " head_dim=", shape.head_dim));
  }
  CARAVAN_ASSIGN_OR_RETURN(
      const int64_t floats,
      CheckedProduct({shape.num_layers, shape.num_blocks, shape.num_kv_heads,
                      HeadFloats(shape.head_dim)}));
  CARAVAN_ASSIGN_OR_RETURN(const int64_t bytes,
                           CheckedMultiply(floats, sizeof(float)));
  CARAVAN_ASSIGN_OR_RETURN(HugeMemory memory,
                           HugeMemory::Create(bytes, Commit::kNow));
  return std::unique_ptr<PagedKvCache>(
      new PagedKvCache(shape, std::move(memory)));
}

float* PagedKvCache::Head(int layer, int kv_head) const {
  return memory_.floats() + layer * shape_.num_blocks * block_stride() +
         kv_head * head_floats_;
}

void PagedKvCache::Write(float* block, int64_t place, const float* key,
                         const float* value) const {
  for (int64_t d = 0; d < shape_.head_dim; ++d) {
    block[d * cpu::kBlockPositions + place] = key[d];
  }
  float* values = block + shape_.head_dim * cpu::kBlockPositions;
  std::memcpy(values + place * cpu::PaddedHeadDim(shape_.head_dim), value,
              shape_.head_dim * sizeof(float));
}

}  // namespace caravan::worker
