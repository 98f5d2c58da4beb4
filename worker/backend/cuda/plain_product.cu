// Products with weights of float32, float16 and bfloat16.
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product_formats.h"
#include "worker/backend/cuda/product_kernel.cuh"

namespace caravan::worker::cuda {
namespace {

// The numbers of one 16-byte unit.
template <typename T>
struct PlainFormat {
  static constexpr int kInputs = kUnitBytes / sizeof(T);
  static constexpr int kUnitsAtOnce = 8;
  struct Unit {
    uint4 words;
  };
  struct Inputs {
    float4 values[kInputs / 4];
  };
  using Group = const float*;

  static __device__ __forceinline__ Unit Load(const WeightView& weight,
                                              int64_t output, int64_t unit) {
    const int64_t at = output / kTileRows * weight.num_units() + unit;
    return {LoadStreaming(static_cast<const uint4*>(weight.values) +
                          at * kTileRows + output % kTileRows)};
  }
  static __device__ __forceinline__ Group GroupOf(const ProductInput& x,
                                                  int64_t first_row,
                                                  int64_t num_units) {
    constexpr int kUnitsOfPiece = kFloatPiece / kInputs;
    const int64_t pieces = (num_units + kUnitsOfPiece - 1) / kUnitsOfPiece;
    return x.floats + first_row * pieces * kFloatPiece;
  }
  template <int kRows>
  static __device__ __forceinline__ Inputs Read(Group x, int64_t unit, int r) {
    Inputs inputs;
    const int64_t input = unit * kInputs;
    const float4* from = reinterpret_cast<const float4*>(
        x + (input / kFloatPiece * kRows + r) * kFloatPiece +
        input % kFloatPiece);
#pragma unroll
    for (int i = 0; i < kInputs / 4; ++i) inputs.values[i] = __ldg(from + i);
    return inputs;
  }
  static __device__ __forceinline__ float2 Pair(uint32_t word) {
    return ToFloat2(PairFromBits<T>(word));
  }
  static __device__ __forceinline__ float Accumulate(const Unit& unit,
                                                     const Inputs& x,
                                                     float sum) {
    const uint32_t words[4] = {unit.words.x, unit.words.y, unit.words.z,
                               unit.words.w};
#pragma unroll
    for (int i = 0; i < kInputs / 4; ++i) {
      float2 low;
      float2 high;
      if constexpr (kInputs == 4) {
        low = make_float2(__uint_as_float(words[0]), __uint_as_float(words[1]));
        high =
            make_float2(__uint_as_float(words[2]), __uint_as_float(words[3]));
      } else {
        low = Pair(words[2 * i]);
        high = Pair(words[2 * i + 1]);
      }
      sum = __fmaf_rn(low.x, x.values[i].x, sum);
      sum = __fmaf_rn(low.y, x.values[i].y, sum);
      sum = __fmaf_rn(high.x, x.values[i].z, sum);
      sum = __fmaf_rn(high.y, x.values[i].w, sum);
    }
    return sum;
  }
};

}  // namespace

cudaError_t LaunchPlainProduct(const ProductArguments& a, bool gated,
                               cudaStream_t stream) {
  switch (a.weight.format) {
    case HeldFormat::kFloat32:
      return LaunchProduct<PlainFormat<float>>(a, gated, stream);
    case HeldFormat::kFloat16:
      return LaunchProduct<PlainFormat<__half>>(a, gated, stream);
    case HeldFormat::kBFloat16:
      return LaunchProduct<PlainFormat<__nv_bfloat16>>(a, gated, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace caravan::worker::cuda
