#include "worker/backend/cuda/cuda_kv_cache.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {
namespace {

static_assert(kBlockPositions == kKvBlockTokens);

KvFormat CacheFormat(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return KvFormat::kFloat32;
    case DType::kFloat16:
      return KvFormat::kHalf;
    case DType::kBFloat16:
      return KvFormat::kBFloat16;
  }
  return KvFormat::kFloat32;
}

KvLayerView ViewOf(const KvCacheShape& shape, void* data) {
  return {.data = data,
          .num_kv_heads = shape.num_kv_heads,
          .head_dim = static_cast<int>(shape.head_dim),
          .format = CacheFormat(shape.dtype)};
}

// Of one head in one block.
int64_t HeadBytes(const KvCacheShape& shape) {
  const KvLayerView view = ViewOf(shape, nullptr);
  return view.head_size() * view.element_bytes();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaKvCache>> CudaKvCache::Create(
    DeviceContext& context, const KvCacheShape& shape) {
  if (shape.num_layers < 1 || shape.num_blocks < 1 || shape.num_kv_heads < 1 ||
      shape.head_dim < 2 || shape.head_dim % 2 != 0 ||
      shape.head_dim > kMaxHeadDim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "KV cache of an impossible shape: num_layers=", shape.num_layers,
        " num_blocks=", shape.num_blocks, " num_kv_heads=", shape.num_kv_heads,
        " head_dim=", shape.head_dim, " most=", kMaxHeadDim));
  }
  CARAVAN_ASSIGN_OR_RETURN(
      const int64_t bytes,
      CheckedProduct({shape.num_layers, shape.num_blocks, shape.num_kv_heads,
                      HeadBytes(shape)}));
  CARAVAN_ASSIGN_OR_RETURN(DeviceMemory memory, DeviceMemory::Create(bytes));
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemsetAsync(memory.data(), 0, bytes, context.stream()),
                 "cudaMemsetAsync"));
  return std::unique_ptr<CudaKvCache>(
      new CudaKvCache(shape, std::move(memory)));
}

KvLayerView CudaKvCache::Layer(int layer) const {
  CARAVAN_CHECK(layer >= 0 && layer < shape_.num_layers);
  return ViewOf(shape_, memory_.As<std::byte>() + layer * shape_.num_blocks *
                                                      shape_.num_kv_heads *
                                                      HeadBytes(shape_));
}

}  // namespace caravan::worker::cuda
