// Reductions in the types that NCCL has.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "tests/emulated_device/nccl/operations.h"

namespace caravan::emulated {
namespace {

template <typename T>
T Combine(T a, T b, ncclRedOp_t reduction) {
  switch (reduction) {
    case ncclProd:
      return static_cast<T>(a * b);
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      return static_cast<T>(a + b);
  }
}

template <typename T>
void ReduceAs(void* values, const void* others, size_t count,
              ncclRedOp_t reduction) {
  T* a = static_cast<T*>(values);
  const T* b = static_cast<const T*>(others);
  for (size_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, __half>) {
      a[i] = __float2half(
          Combine(__half2float(a[i]), __half2float(b[i]), reduction));
    } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
      a[i] = __float2bfloat16(
          Combine(__bfloat162float(a[i]), __bfloat162float(b[i]), reduction));
    } else {
      a[i] = Combine(a[i], b[i], reduction);
    }
  }
}

}  // namespace

size_t BytesOf(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

void Reduce(void* values, const void* others, size_t count, ncclDataType_t type,
            ncclRedOp_t reduction) {
  switch (type) {
    case ncclInt8:
      return ReduceAs<int8_t>(values, others, count, reduction);
    case ncclUint8:
      return ReduceAs<uint8_t>(values, others, count, reduction);
    case ncclFloat16:
      return ReduceAs<__half>(values, others, count, reduction);
    case ncclBfloat16:
      return ReduceAs<__nv_bfloat16>(values, others, count, reduction);
    case ncclInt32:
      return ReduceAs<int32_t>(values, others, count, reduction);
    case ncclUint32:
      return ReduceAs<uint32_t>(values, others, count, reduction);
    case ncclFloat32:
      return ReduceAs<float>(values, others, count, reduction);
    case ncclInt64:
      return ReduceAs<int64_t>(values, others, count, reduction);
    case ncclUint64:
      return ReduceAs<uint64_t>(values, others, count, reduction);
    default:
      return ReduceAs<double>(values, others, count, reduction);
  }
}

}  // namespace caravan::emulated
