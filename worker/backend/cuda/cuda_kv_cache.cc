#include "worker/backend/cuda/cuda_kv_cache.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"

namespace caravan::worker::cuda {
namespace {

static_assert(kBlockPositions == kKvBlockTokens);

KvLayerView ViewOf(const KvCacheShape& shape, float* data) {
  return {.data = data,
          .num_kv_heads = shape.num_kv_heads,
          .head_dim = static_cast<int>(shape.head_dim)};
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
                      ViewOf(shape, nullptr).head_floats(),
                      static_cast<int64_t>(sizeof(float))}));
  CARAVAN_ASSIGN_OR_RETURN(DeviceMemory memory, DeviceMemory::Create(bytes));
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemsetAsync(memory.data(), 0, bytes, context.stream()),
                 "cudaMemsetAsync"));
  return std::unique_ptr<CudaKvCache>(
      new CudaKvCache(shape, std::move(memory)));
}

KvLayerView CudaKvCache::Layer(int layer) const {
  CARAVAN_CHECK(layer >= 0 && layer < shape_.num_layers);
  const KvLayerView first = ViewOf(shape_, memory_.As<float>());
  return ViewOf(shape_, first.Keys(layer * shape_.num_blocks, 0));
}

}  // namespace caravan::worker::cuda
