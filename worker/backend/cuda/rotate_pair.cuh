// Two elements of a head that are turned together, wherever they come from: for
// the kernel of rotate.h and for products that end with it.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_ROTATE_PAIR_CUH_
#define CARAVAN_WORKER_BACKEND_CUDA_ROTATE_PAIR_CUH_

#include "worker/backend/cuda/cached_number.cuh"
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/rotate.h"

namespace caravan::worker::cuda {

// Elements i and i + head_dim / 2 of a head. Heads are those of queries, then
// of keys, then of values.
struct HeadPair {
  int head;
  int i;
  float2 value;
};

__device__ __forceinline__ float2 Turn(float2 value, float cos, float sin) {
  return make_float2(value.x * cos - value.y * sin,
                     value.y * cos + value.x * sin);
}

// To a row's place in the cache; kv_head counts key heads, then value heads.
template <typename T>
__device__ __forceinline__ void StoreInCache(const KvLayerView& cache,
                                             const RowPlace& place, int kv_head,
                                             int i, float2 value) {
  constexpr int kUnit = kKvUnitBytes / sizeof(T);
  const int in_block = place.position % kBlockPositions;
  const bool is_key = kv_head < cache.num_kv_heads;
  T* const keys = cache.Keys<T>(
      place.block, is_key ? kv_head : kv_head - cache.num_kv_heads);
  const auto at = [&](int d) {
    return is_key ? (d / kUnit * kBlockPositions + in_block) * kUnit + d % kUnit
                  : cache.values_offset() + in_block * cache.padded() + d;
  };
  keys[at(i)] = ToCached<T>(value.x);
  keys[at(i + cache.head_dim / 2)] = ToCached<T>(value.y);
}

// `queries` are those of the row. Of padding nothing is written.
__device__ __forceinline__ void RotateAndStorePair(const Rotation& rotation,
                                                   int64_t row, HeadPair pair,
                                                   float* queries) {
  const RowPlace place = rotation.places[row];
  if (place.block == kNoBlock) return;
  const KvLayerView& cache = rotation.cache;
  const int half = cache.head_dim / 2;
  const int kv_head = pair.head - rotation.num_heads;
  if (kv_head < cache.num_kv_heads) {
    const int64_t angle = static_cast<int64_t>(place.position) * half + pair.i;
    pair.value = Turn(pair.value, rotation.cos[angle], rotation.sin[angle]);
  }
  if (kv_head < 0) {
    float* const head = queries + pair.head * cache.head_dim;
    head[pair.i] = pair.value.x;
    head[pair.i + half] = pair.value.y;
    return;
  }
  switch (cache.format) {
    case KvFormat::kFloat32:
      return StoreInCache<float>(cache, place, kv_head, pair.i, pair.value);
    case KvFormat::kHalf:
      return StoreInCache<__half>(cache, place, kv_head, pair.i, pair.value);
    case KvFormat::kBFloat16:
      return StoreInCache<__nv_bfloat16>(cache, place, kv_head, pair.i,
                                         pair.value);
  }
}

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_ROTATE_PAIR_CUH_
