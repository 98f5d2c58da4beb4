// Keys and values on the device.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_CUDA_KV_CACHE_H_
#define CARAVAN_WORKER_BACKEND_CUDA_CUDA_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/kv_layout.h"

namespace caravan::worker::cuda {

// kv_layout.h tells the layout. Zeroed when made.
class CudaKvCache final : public KvCache {
 public:
  // kInvalidArgument: a size below 1, a head larger than kMaxHeadDim, or more
  // than can be counted; kResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<CudaKvCache>> Create(
      DeviceContext& context, const KvCacheShape& shape);

  int64_t bytes() const override { return memory_.bytes(); }
  const KvCacheShape& shape() const { return shape_; }
  KvLayerView Layer(int layer) const;

 private:
  CudaKvCache(const KvCacheShape& shape, DeviceMemory memory)
      : shape_(shape), memory_(std::move(memory)) {}

  const KvCacheShape shape_;
  const DeviceMemory memory_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_CUDA_KV_CACHE_H_
