// How keys and values lie on the device, for the kernels.
//
// In float32, half or bfloat16, in blocks of 16 positions, in units of 16
// bytes. For each layer, block and KV head: keys as (padded head_dim / unit,
// 16, unit), so that lanes are positions and each reads a unit beside its
// neighbour's, then values as (16, padded head_dim), so that lanes are
// elements. head_dim is filled up to whole units with zeros.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_KV_LAYOUT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_KV_LAYOUT_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker::cuda {

constexpr int kBlockPositions = 16;
// Larger heads than any model has would not fit the kernels' memory.
constexpr int kMaxHeadDim = 256;
constexpr int kKvUnitBytes = 16;

enum class KvFormat : int { kFloat32, kHalf, kBFloat16 };

// One layer of the cache.
struct KvLayerView {
  void* data = nullptr;
  int num_kv_heads = 0;
  int head_dim = 0;
  KvFormat format = KvFormat::kFloat32;

  __host__ __device__ int element_bytes() const {
    return format == KvFormat::kFloat32 ? 4 : 2;
  }
  __host__ __device__ int padded() const {
    const int unit = kKvUnitBytes / element_bytes();
    return (head_dim + unit - 1) / unit * unit;
  }
  // Elements that a head has in a block.
  __host__ __device__ int64_t head_size() const {
    return int64_t{2} * kBlockPositions * padded();
  }
  // Of a block, the keys of a KV head; its values lie values_offset() further.
  // T is what the format says.
  template <typename T>
  __host__ __device__ T* Keys(int64_t block, int kv_head) const {
    return static_cast<T*>(data) +
           (block * num_kv_heads + kv_head) * head_size();
  }
  __host__ __device__ int values_offset() const {
    return kBlockPositions * padded();
  }
};

// Where a row's keys and values go. A row of padding has kNoBlock: they go
// nowhere.
struct RowPlace {
  int32_t position;
  int32_t block;
};
constexpr int32_t kNoBlock = -1;

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_KV_LAYOUT_H_
