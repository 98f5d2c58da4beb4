// Products of few rows with weights in blocks of 32: whole numbers within a
// block by dp4a, then float32, each operation rounded once, as the CPU backend
// computes them.
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/product_formats.h"
#include "worker/backend/cuda/product_kernel.cuh"

namespace caravan::worker::cuda {
namespace {

struct QuantizedGroup {
  const int8_t* values;
  const float2* scales;
};
struct QuantizedInputs {
  int4 low;  // inputs 0 to 15
  int4 high;
  float scale;
  float sum;
};

// What the formats share: rows of x, and where a unit lies.
struct QuantizedFormat {
  using Group = QuantizedGroup;
  using Inputs = QuantizedInputs;

  static __device__ __forceinline__ int64_t Place(const WeightView& weight,
                                                  int64_t output,
                                                  int64_t unit) {
    return output / kTileRows * weight.num_units() + unit;
  }
  static __device__ __forceinline__ Group GroupOf(const ProductInput& x,
                                                  int64_t first_row,
                                                  int64_t num_units) {
    return {x.values + first_row * num_units * kQuantizedInputs,
            x.scales + first_row * num_units};
  }
  template <int kRows>
  static __device__ __forceinline__ Inputs Read(const Group& x, int64_t unit,
                                                int r) {
    const int4* from =
        reinterpret_cast<const int4*>(x.values) + unit * 2 * kRows + r;
    const float2 scale = __ldg(x.scales + unit * kRows + r);
    return {__ldg(from), __ldg(from + kRows), scale.x, scale.y};
  }
  static __device__ __forceinline__ float Scale(const WeightView& weight,
                                                int64_t place, int lane) {
    const uint16_t bits = __ldg(static_cast<const uint16_t*>(weight.scales) +
                                place * kTileRows + lane);
    return ToFloat2(PairFromBits<__half>(bits)).x;
  }
};

__device__ __forceinline__ int Dot16(const uint4& weights, const int4& x,
                                     int sum) {
  sum = Dp4a(static_cast<int>(weights.x), x.x, sum);
  sum = Dp4a(static_cast<int>(weights.y), x.y, sum);
  sum = Dp4a(static_cast<int>(weights.z), x.z, sum);
  return Dp4a(static_cast<int>(weights.w), x.w, sum);
}

struct Q8 : QuantizedFormat {
  static constexpr int kUnitsAtOnce = 4;
  struct Unit {
    uint4 low;
    uint4 high;
    float scale;
  };
  static __device__ __forceinline__ Unit Load(const WeightView& weight,
                                              int64_t output, int64_t unit) {
    const int lane = static_cast<int>(output % kTileRows);
    const int64_t place = Place(weight, output, unit);
    const uint4* values =
        static_cast<const uint4*>(weight.values) + place * 2 * kTileRows + lane;
    return {LoadStreaming(values), LoadStreaming(values + kTileRows),
            Scale(weight, place, lane)};
  }
  static __device__ __forceinline__ float Accumulate(const Unit& unit,
                                                     const Inputs& x,
                                                     float sum) {
    const int dot = Dot16(unit.high, x.high, Dot16(unit.low, x.low, 0));
    return sum + x.scale * (unit.scale * static_cast<float>(dot));
  }
};

// Low halves of bytes are inputs 0 to 15.
__device__ __forceinline__ uint4 LowNibbles(const uint4& words) {
  return make_uint4(words.x & 0x0f0f0f0f, words.y & 0x0f0f0f0f,
                    words.z & 0x0f0f0f0f, words.w & 0x0f0f0f0f);
}
__device__ __forceinline__ uint4 HighNibbles(const uint4& words) {
  return LowNibbles(
      make_uint4(words.x >> 4, words.y >> 4, words.z >> 4, words.w >> 4));
}
__device__ __forceinline__ float DotNibbles(const uint4& words,
                                            const QuantizedInputs& x) {
  return static_cast<float>(
      Dot16(HighNibbles(words), x.high, Dot16(LowNibbles(words), x.low, 0)));
}

struct Q4 : QuantizedFormat {
  static constexpr int kUnitsAtOnce = 8;
  struct Unit {
    uint4 words;
    float scale;
  };
  static __device__ __forceinline__ Unit Load(const WeightView& weight,
                                              int64_t output, int64_t unit) {
    const int lane = static_cast<int>(output % kTileRows);
    const int64_t place = Place(weight, output, unit);
    return {LoadStreaming(static_cast<const uint4*>(weight.values) +
                          place * kTileRows + lane),
            Scale(weight, place, lane)};
  }
  static __device__ __forceinline__ float Accumulate(const Unit& unit,
                                                     const Inputs& x,
                                                     float sum) {
    const float dot = DotNibbles(unit.words, x) - 8.0f * x.sum;
    return sum + x.scale * (unit.scale * dot);
  }
};

struct Q4Minimum : QuantizedFormat {
  static constexpr int kUnitsAtOnce = 6;  // more would spill registers
  struct Unit {
    uint4 words;
    float2 scale;  // and minimum
  };
  static __device__ __forceinline__ Unit Load(const WeightView& weight,
                                              int64_t output, int64_t unit) {
    const int lane = static_cast<int>(output % kTileRows);
    const int64_t place = Place(weight, output, unit);
    const uint32_t bits = __ldg(static_cast<const uint32_t*>(weight.scales) +
                                place * kTileRows + lane);
    return {LoadStreaming(static_cast<const uint4*>(weight.values) +
                          place * kTileRows + lane),
            ToFloat2(PairFromBits<__half>(bits))};
  }
  static __device__ __forceinline__ float Accumulate(const Unit& unit,
                                                     const Inputs& x,
                                                     float sum) {
    const float dot = DotNibbles(unit.words, x);
    return sum + x.scale * (unit.scale.x * dot + unit.scale.y * x.sum);
  }
};

}  // namespace

cudaError_t LaunchQuantizedProduct(const ProductArguments& a,
                                   cudaStream_t stream) {
  switch (a.weight.format) {
    case HeldFormat::kQ8:
      return LaunchProduct<Q8, 4>(a, stream);
    case HeldFormat::kQ4:
      return LaunchProduct<Q4, 4>(a, stream);
    case HeldFormat::kQ4Minimum:
      return LaunchProduct<Q4Minimum, 4>(a, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace caravan::worker::cuda
