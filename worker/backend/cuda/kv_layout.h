// How keys and values lie on the device, for the kernels.
//
// Float32, in blocks of 16 positions. For each layer, block and KV head: keys
// as (padded head_dim / 4, 16, 4), so that lanes are positions and each reads
// 16 bytes beside its neighbour's, then values as (16, padded head_dim), so
// that lanes are elements. head_dim is filled up to a multiple of 4 with zeros.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_KV_LAYOUT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_KV_LAYOUT_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace caravan::worker::cuda {

constexpr int kBlockPositions = 16;
// Larger heads than any model has would not fit the kernels' memory.
constexpr int kMaxHeadDim = 256;

// One layer of the cache.
struct KvLayerView {
  float* data = nullptr;
  int num_kv_heads = 0;
  int head_dim = 0;

  __host__ __device__ int padded() const { return (head_dim + 3) / 4 * 4; }
  __host__ __device__ int64_t head_floats() const {
    return int64_t{2} * kBlockPositions * padded();
  }
  // Of a block, the keys of a KV head; its values lie values_offset() further.
  __host__ __device__ float* Keys(int64_t block, int kv_head) const {
    return data + (block * num_kv_heads + kv_head) * head_floats();
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
