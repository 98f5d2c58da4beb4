// Rotary position embedding, and what goes into the KV cache.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_ROTATE_H_
#define CARAVAN_WORKER_BACKEND_CUDA_ROTATE_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/kv_layout.h"

namespace caravan::worker::cuda {

// How rows of queries, keys and values are turned, and where keys and values
// go. All on the device.
struct Rotation {
  const float* cos = nullptr;  // (positions, head_dim / 2)
  const float* sin = nullptr;
  const RowPlace* places = nullptr;  // of each row; null: no rotation
  KvLayerView cache;
  int num_heads = 0;  // of queries

  __host__ __device__ int NumAllHeads() const {
    return num_heads + 2 * cache.num_kv_heads;
  }
};

struct RotateArguments {
  float* queries = nullptr;            // (rows, num_heads * head_dim), in place
  const float* keys_values = nullptr;  // (rows, 2 * num_kv_heads * head_dim)
  Rotation rotation;
  int64_t num_rows = 0;
};

// Enqueues: turns pairs (i, i + head_dim / 2) of queries and keys by the angles
// of the row's position, nothing fused; writes keys and values, rounded to what
// the cache holds, to their places.
[[nodiscard]] cudaError_t RotateAndStore(const RotateArguments& arguments,
                                         cudaStream_t stream);

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_ROTATE_H_
