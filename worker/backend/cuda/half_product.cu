// Products with weights of float16 and bfloat16, on tensor cores for any number
// of rows: a row of x is the sum of two rows of the weight's type, so that
// every product is exact.
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/matrix_product_kernel.cuh"
#include "worker/backend/cuda/product_formats.h"

namespace caravan::worker::cuda {
namespace {

// A step is 16 inputs: one mma of the high and one of the low parts.
template <typename T>
struct HalfMatrix {
  static constexpr bool kMayBeRowMajor = true;
  static constexpr int kPieces = 2;
  static constexpr int kUnitsOfStep = 2;
  static constexpr int kInputPieces = 4;  // high, high, low, low
  static constexpr int kSegmentWords = 0;
  static constexpr bool kHasInputScales = false;
  struct Weights {
    uint32_t a[kSegments][4];
  };

  static __device__ __forceinline__ const unsigned char* Inputs(
      const ProductInput& x) {
    return reinterpret_cast<const unsigned char*>(x.halves);
  }
  static __device__ __forceinline__ Weights
  ReadWeights(const unsigned char* values, const unsigned char*,
              const int (&)[kSegments]) {
    Weights weights;
#pragma unroll
    for (int segment = 0; segment < kSegments; ++segment) {
      ReadTwoPieces(values, segment, weights.a[segment]);
    }
    return weights;
  }
  template <int kRowTiles>
  static __device__ __forceinline__ void Multiply(
      const Weights& weights, const unsigned char* inputs, const unsigned char*,
      float (&sums)[kSegments][kRowTiles][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kRowTiles; ++n) {
      uint32_t b[4];
      LdMatrixX4(b, inputs + (n * 32 + lane) * 16);
      const uint32_t high[2] = {b[0], b[1]};
      const uint32_t low[2] = {b[2], b[3]};
#pragma unroll
      for (int segment = 0; segment < kSegments; ++segment) {
        Mma<T>(sums[segment][n], weights.a[segment], high);
        Mma<T>(sums[segment][n], weights.a[segment], low);
      }
    }
  }
  static __device__ __forceinline__ float Finish(const ProductInput& x,
                                                 int64_t row, float sum) {
    return sum * __ldg(x.factors + row);
  }
};

}  // namespace

cudaError_t LaunchHalfProduct(const ProductArguments& a, cudaStream_t stream) {
  switch (a.weight.format) {
    case HeldFormat::kFloat16:
      return LaunchMatrixProduct<HalfMatrix<__half>>(a, stream);
    case HeldFormat::kBFloat16:
      return LaunchMatrixProduct<HalfMatrix<__nv_bfloat16>>(a, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace caravan::worker::cuda
