// Products with weights of float32, which tensor cores do not multiply.
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product_formats.h"
#include "worker/backend/cuda/product_kernel.cuh"

namespace caravan::worker::cuda {
namespace {

// The four numbers of a unit.
struct FloatFormat {
  static constexpr int kInputs = UnitInputs(HeldFormat::kFloat32);
  static constexpr int kUnitsAtOnce = 8;
  struct Unit {
    uint4 words;
  };
  using Inputs = float4;
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
    const int64_t input = unit * kInputs;
    return __ldg(reinterpret_cast<const float4*>(
        x + (input / kFloatPiece * kRows + r) * kFloatPiece +
        input % kFloatPiece));
  }
  static __device__ __forceinline__ float Accumulate(const Unit& unit,
                                                     const Inputs& x,
                                                     float sum) {
    sum = __fmaf_rn(__uint_as_float(unit.words.x), x.x, sum);
    sum = __fmaf_rn(__uint_as_float(unit.words.y), x.y, sum);
    sum = __fmaf_rn(__uint_as_float(unit.words.z), x.z, sum);
    return __fmaf_rn(__uint_as_float(unit.words.w), x.w, sum);
  }
};

}  // namespace

cudaError_t LaunchFloatProduct(const ProductArguments& a, cudaStream_t stream) {
  return LaunchProduct<FloatFormat, 8>(a, stream);
}

}  // namespace caravan::worker::cuda
