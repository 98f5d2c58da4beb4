#include "worker/backend/cpu/paged_kv_cache.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

// No model has larger heads; it keeps the arithmetic on them small.
constexpr int64_t kLargestHead = 4096;

int64_t HeadSize(int64_t head_dim) {
  return cpu::kBlockPositions * (head_dim + cpu::PaddedHeadDim(head_dim));
}

// Elements of a cache, from float32.
struct ToFloat32 {
  float operator()(float value) const { return value; }
};
struct ToFloat16 {
  uint16_t operator()(float value) const {
    constexpr float kLargest = 65504;
    if (value > kLargest) return FloatToFloat16(kLargest);
    if (value < -kLargest) return FloatToFloat16(-kLargest);
    return FloatToFloat16(value);  // NaN too
  }
};
struct ToBFloat16 {
  uint16_t operator()(float value) const { return FloatToBFloat16(value); }
};

// One position of a head's block.
template <typename Element, typename Convert>
void WritePosition(Element* block, int64_t position, int64_t head_dim,
                   const float* key, const float* value, Convert convert) {
  for (int64_t d = 0; d < head_dim; ++d) {
    block[d * cpu::kBlockPositions + position] = convert(key[d]);
  }
  Element* const values = block + head_dim * cpu::kBlockPositions +
                          position * cpu::PaddedHeadDim(head_dim);
  std::transform(value, value + head_dim, values, convert);
}

}  // namespace

PagedKvCache::PagedKvCache(const KvCacheShape& shape, HugeMemory memory)
    : shape_(shape),
      head_size_(HeadSize(shape.head_dim)),
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
      const int64_t elements,
      CheckedProduct({shape.num_layers, shape.num_blocks, shape.num_kv_heads,
                      HeadSize(shape.head_dim)}));
  CARAVAN_ASSIGN_OR_RETURN(const int64_t bytes,
                           CheckedMultiply(elements, ByteSize(shape.dtype)));
  CARAVAN_ASSIGN_OR_RETURN(HugeMemory memory,
                           HugeMemory::Create(bytes, Commit::kNow));
  return std::unique_ptr<PagedKvCache>(
      new PagedKvCache(shape, std::move(memory)));
}

int64_t PagedKvCache::HeadBegin(int layer, int kv_head) const {
  return layer * shape_.num_blocks * block_stride() + kv_head * head_size_;
}

const void* PagedKvCache::Head(int layer, int kv_head) const {
  return static_cast<const std::byte*>(memory_.data()) +
         HeadBegin(layer, kv_head) * ByteSize(shape_.dtype);
}

void PagedKvCache::Write(const Place& place, const float* key,
                         const float* value) const {
  const int64_t begin =
      HeadBegin(place.layer, place.kv_head) + place.block * block_stride();
  const auto write = [&](auto* elements, auto convert) {
    WritePosition(elements + begin, place.position, shape_.head_dim, key, value,
                  convert);
  };
  switch (shape_.dtype) {
    case DType::kFloat32:
      return write(static_cast<float*>(memory_.data()), ToFloat32());
    case DType::kFloat16:
      return write(static_cast<uint16_t*>(memory_.data()), ToFloat16());
    case DType::kBFloat16:
      return write(static_cast<uint16_t*>(memory_.data()), ToBFloat16());
  }
}

}  // namespace caravan::worker
