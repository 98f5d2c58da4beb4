// Products with weights in blocks of 32 on tensor cores: whole numbers within a
// block, then float32 as in quantized_product.cu, to the bit.
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/matrix_product_kernel.cuh"
#include "worker/backend/cuda/product_formats.h"

namespace caravan::worker::cuda {
namespace {

// Sums start at the bits of 1.5 * 2^23: while they stay below 2^22 their bits,
// taken as float32, are that number plus the sum. So no conversion is needed,
// and since the number times a scale is exact, one fused operation makes the
// product of sum and scale, rounded once. (With a scale that is not finite,
// which no quantizer makes, it is NaN, elsewhere infinity.)
constexpr float kShift = 12582912.0f;
constexpr int kShiftBits = 0x4b400000;
// Of a block: 32 products of an 8-bit value and one of x, at most 127.
static_assert(32 * 128 * 127 < (1 << 22));

struct ScaleOf {
  float scale;
  float shift;  // undoes kShift
};
// `times` is a power of two: of sums that are as much too large its inverse.
__device__ __forceinline__ ScaleOf MakeScale(float scale, float times = 1.0f) {
  return {scale * times, scale * (times * -kShift)};
}
__device__ __forceinline__ float Scaled(int sum, const ScaleOf& scale) {
  return __fmaf_rn(scale.scale, __int_as_float(sum), scale.shift);
}

// The 32 rows' words of a piece: of rows 8 * i + g, bytes 4 * t and on.
struct PieceWords {
  uint32_t rows[4];
};
__device__ __forceinline__ PieceWords ReadPiece(const unsigned char* piece) {
  PieceWords words;
  LdMatrixX4(words.rows, piece + threadIdx.x % 32 * 16);
  return words;
}
// Of this lane's rows, 8 * half + g of each segment.
template <typename Math>
__device__ __forceinline__ void ReadScales(
    const unsigned char* scales, const int (&odd_row)[kSegments],
    typename Math::Scale (&to)[kSegments][2]) {
#pragma unroll
  for (int segment = 0; segment < kSegments; ++segment) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = half * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
      to[segment][half] =
          Math::ReadScale(scales, segment, row, odd_row[segment]);
    }
  }
}
// Where scales are half a word: a segment's begin in the middle of its first
// word if its first row is odd.
__device__ __forceinline__ ScaleOf ReadHalfScale(const unsigned char* scales,
                                                 int place,
                                                 float times = 1.0f) {
  const uint16_t bits = reinterpret_cast<const uint16_t*>(scales)[place];
  return MakeScale(ToFloat2(PairFromBits<__half>(bits)).x, times);
}
constexpr int kHalfScaleWords = kSegmentRows / 2 + 1;

// What differs between formats: fragments of A, scales, and how a block's sum
// is added, x being its scale and the sum of its values.
struct Q8Math {
  static constexpr HeldFormat kHeld = HeldFormat::kQ8;
  using Scale = ScaleOf;
  static __device__ __forceinline__ void ReadValues(
      const unsigned char* values, uint32_t (&a)[kSegments][4]) {
#pragma unroll
    for (int segment = 0; segment < kSegments; ++segment) {
      ReadTwoPieces(values, segment, a[segment]);
    }
  }
  static __device__ __forceinline__ Scale ReadScale(const unsigned char* scales,
                                                    int segment, int row,
                                                    int odd_row) {
    return ReadHalfScale(scales, segment * kHalfScaleWords * 2 + odd_row + row);
  }
  static __device__ __forceinline__ float Add(float sum, int dot,
                                              const Scale& scale, float2 x) {
    return sum + x.x * Scaled(dot, scale);
  }
};

// q - 8 for each q, as whole bytes: 16 times too large, which the scale undoes.
__device__ __forceinline__ uint32_t SignedNibbles(uint32_t high_nibbles) {
  return (high_nibbles ^ 0x80808080u) & 0xf0f0f0f0u;
}
struct Q4Math {
  static constexpr HeldFormat kHeld = HeldFormat::kQ4;
  using Scale = ScaleOf;
  static __device__ __forceinline__ void ReadValues(
      const unsigned char* values, uint32_t (&a)[kSegments][4]) {
    const PieceWords words = ReadPiece(values);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i / 2][i % 2] = SignedNibbles(words.rows[i] << 4);
      a[i / 2][i % 2 + 2] = SignedNibbles(words.rows[i]);
    }
  }
  static __device__ __forceinline__ Scale ReadScale(const unsigned char* scales,
                                                    int segment, int row,
                                                    int odd_row) {
    return ReadHalfScale(scales, segment * kHalfScaleWords * 2 + odd_row + row,
                         0x1p-4f);
  }
  static __device__ __forceinline__ float Add(float sum, int dot,
                                              const Scale& scale, float2 x) {
    return sum + x.x * Scaled(dot, scale);
  }
};

struct Q4MinimumMath {
  static constexpr HeldFormat kHeld = HeldFormat::kQ4Minimum;
  struct Scale {
    ScaleOf scale;
    float minimum;
  };
  static __device__ __forceinline__ void ReadValues(
      const unsigned char* values, uint32_t (&a)[kSegments][4]) {
    const PieceWords words = ReadPiece(values);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i / 2][i % 2] = words.rows[i] & 0x0f0f0f0fu;
      a[i / 2][i % 2 + 2] = words.rows[i] >> 4 & 0x0f0f0f0fu;
    }
  }
  static __device__ __forceinline__ Scale ReadScale(const unsigned char* scales,
                                                    int segment, int row, int) {
    const uint32_t bits =
        reinterpret_cast<const uint32_t*>(scales)[segment * kSegmentRows + row];
    const float2 pair = ToFloat2(PairFromBits<__half>(bits));
    return {MakeScale(pair.x), pair.y};
  }
  static __device__ __forceinline__ float Add(float sum, int dot,
                                              const Scale& scale, float2 x) {
    return sum + x.x * (Scaled(dot, scale.scale) + scale.minimum * x.y);
  }
};

// A step is a block of 32 inputs: one mma.
template <typename Math>
struct QuantizedMatrix {
  static constexpr bool kMayBeRowMajor = false;
  static constexpr int kPieces = UnitPieces(Math::kHeld);
  static constexpr int kUnitsOfStep = 1;
  static constexpr int kInputPieces = 2;
  static constexpr int kScaleBytes = ScaleBytes(Math::kHeld);
  static constexpr int kSegmentWords =
      kScaleBytes == 4 ? kSegmentRows : kHalfScaleWords;
  static constexpr bool kHasInputScales = true;
  struct Weights {
    uint32_t a[kSegments][4];
    typename Math::Scale scale[kSegments][2];
  };

  static __device__ __forceinline__ const unsigned char* Inputs(
      const ProductInput& x) {
    return reinterpret_cast<const unsigned char*>(x.values);
  }
  static __device__ __forceinline__ Weights
  ReadWeights(const unsigned char* values, const unsigned char* scales,
              const int (&odd_row)[kSegments]) {
    Weights weights;
    Math::ReadValues(values, weights.a);
    ReadScales<Math>(scales, odd_row, weights.scale);
    return weights;
  }
  static __device__ __forceinline__ float Finish(const ProductInput&, int64_t,
                                                 float sum) {
    return sum;
  }

  template <int kRowTiles>
  static __device__ __forceinline__ void Multiply(
      const Weights& weights, const unsigned char* inputs,
      const unsigned char* input_scales,
      float (&sums)[kSegments][kRowTiles][4]) {
    const int lane = threadIdx.x % 32;
    uint32_t b[kRowTiles][2];
    if constexpr (kRowTiles == 1) {
      LdMatrixX2(b[0], inputs + lane % 16 * 16);
    } else {
#pragma unroll
      for (int n = 0; n < kRowTiles; n += 2) {
        uint32_t two[4];
        LdMatrixX4(two, inputs + (n * 16 + lane) * 16);
        b[n][0] = two[0];
        b[n][1] = two[1];
        b[n + 1][0] = two[2];
        b[n + 1][1] = two[3];
      }
    }
#pragma unroll
    for (int n = 0; n < kRowTiles; ++n) {
      // Scale and sum of rows 2 * t and 2 * t + 1.
      const float4 x = *reinterpret_cast<const float4*>(
          input_scales + (n * 4 + lane % 4) * 16);
#pragma unroll
      for (int segment = 0; segment < kSegments; ++segment) {
        int dot[4];
        MmaS8(dot, weights.a[segment], b[n], kShiftBits);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[segment][n][i] = Math::Add(
              sums[segment][n][i], dot[i], weights.scale[segment][i / 2],
              i % 2 == 0 ? make_float2(x.x, x.y) : make_float2(x.z, x.w));
        }
      }
    }
  }
};

}  // namespace

cudaError_t LaunchQuantizedMatrixProduct(const ProductArguments& a,
                                         cudaStream_t stream) {
  switch (a.weight.format) {
    case HeldFormat::kQ8:
      return LaunchMatrixProduct<QuantizedMatrix<Q8Math>>(a, stream);
    case HeldFormat::kQ4:
      return LaunchMatrixProduct<QuantizedMatrix<Q4Math>>(a, stream);
    case HeldFormat::kQ4Minimum:
      return LaunchMatrixProduct<QuantizedMatrix<Q4MinimumMath>>(a, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace caravan::worker::cuda
