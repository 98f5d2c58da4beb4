#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/prepare_rows.h"

namespace caravan::worker::cuda {
namespace {

// Of a block, which makes one row: by its length alone, so that a row has the
// same bits in any batch. Wide ones are read in as few turns as can be: with
// one row of a decode step nothing else hides the wait.
constexpr int kThreadsOfRow = 256;
constexpr int kThreadsOfWideRow = 1024;
constexpr int64_t kWideRow = 4096;
// Lanes that make a block of 32 values, four each.
constexpr int kBlockLanes = 8;
// Smaller ones, whose inverse float32 may not hold, count as zeros.
constexpr float kLeastMagnitude = 0x1p-100f;
constexpr int kInfinityBits = 0x7f800000;

// x / rms(x): the factor; 1 where nothing is to be normalized.
template <int kThreads>
__device__ float NormFactor(const PrepareRowsArguments& a, const float* x) {
  if (a.norm == nullptr) return 1.0f;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < a.cols; i += kThreads) {
    sum = __fmaf_rn(x[i], x[i], sum);
  }
  sum = BlockSum<kThreads>(sum);
  return 1.0f / sqrtf(sum / static_cast<float>(a.cols) + a.epsilon);
}

__device__ float Normalized(const PrepareRowsArguments& a, const float* x,
                            float factor, int64_t i) {
  if (a.norm == nullptr) return x[i];
  return x[i] * factor * __ldg(a.norm + i);
}

// Where piece `piece` of a row is, counted in pieces.
__device__ int64_t PlaceOf(const PrepareRowsArguments& a, int64_t row,
                           int64_t piece, int64_t num_pieces) {
  const int group = a.to.group;
  return (row / group * num_pieces + piece) * group + row % group;
}

template <int kThreads>
__device__ void WriteFloats(const PrepareRowsArguments& a, const float* x,
                            float factor, int64_t row) {
  float* out = const_cast<float*>(a.to.floats);
  const int64_t num_pieces = (a.cols + kFloatPiece - 1) / kFloatPiece;
  for (int64_t i = threadIdx.x; i < num_pieces * kFloatPiece; i += kThreads) {
    const int64_t place = PlaceOf(a, row, i / kFloatPiece, num_pieces);
    out[place * kFloatPiece + i % kFloatPiece] =
        i < a.cols ? Normalized(a, x, factor, i) : 0.0f;
  }
}

// The power of two that brings the largest of a row to 2^exponent, up to twice
// that, from its bits; or as near as float32 gets, for the inverse as well.
__device__ float PowerOfTwo(int exponent, int largest_bits) {
  constexpr int kBias = 127;
  const int wanted = kBias + exponent - ((largest_bits >> 23) - kBias);
  return __int_as_float(min(max(wanted, 1), 2 * kBias - 1) << 23);
}

// Two neighbours at a time, each as the sum of two numbers of type T.
template <int kThreads, typename T>
__device__ void WriteHalves(const PrepareRowsArguments& a, const float* x,
                            float factor, int64_t row) {
  constexpr int kHalfOfPiece = kHalfPiece / 2;
  uint32_t* out =
      reinterpret_cast<uint32_t*>(const_cast<uint16_t*>(a.to.halves));
  const int64_t num_pieces = (a.cols + kHalfPiece - 1) / kHalfPiece;
  float largest = 0;
  for (int64_t i = threadIdx.x; i < a.cols; i += kThreads) {
    largest = fmaxf(largest, fabsf(Normalized(a, x, factor, i)));
  }
  largest = BlockMax<kThreads>(largest);
  const float scale =
      PowerOfTwo(std::is_same_v<T, __half> ? 14 : -1, __float_as_int(largest));
  if (threadIdx.x == 0) const_cast<float*>(a.to.factors)[row] = 1.0f / scale;
  for (int64_t i = 2 * static_cast<int>(threadIdx.x);
       i < num_pieces * kHalfPiece; i += 2 * kThreads) {
    float2 value = {0, 0};
    if (i < a.cols) value.x = Normalized(a, x, factor, i) * scale;
    if (i + 1 < a.cols) value.y = Normalized(a, x, factor, i + 1) * scale;
    const PairOf<T> high = FromFloat2<T>(value);
    const float2 taken = ToFloat2(high);
    const PairOf<T> low =
        FromFloat2<T>(make_float2(value.x - taken.x, value.y - taken.y));
    // In halves of pieces: high ones, and low ones two further.
    const int64_t piece = row / kMatrixGroup * num_pieces + i / kHalfPiece;
    const int64_t place =
        (piece * 4 + i / kHalfOfPiece % 2) * kMatrixGroup + row % kMatrixGroup;
    const int64_t word = (place * kHalfOfPiece + i % kHalfOfPiece) / 2;
    out[word] = BitsOf(high);
    out[word + 2 * kMatrixGroup * kHalfOfPiece / 2] = BitsOf(low);
  }
}

template <typename T>
__device__ float WithinRange(float value) {
  constexpr float kMost = 65504.0f;  // of float16
  if (!std::is_same_v<T, __half> || !(fabsf(value) < INFINITY)) return value;
  return fminf(fmaxf(value, -kMost), kMost);
}

// Two neighbours at a time, each rounded to type T.
template <int kThreads, typename T>
__device__ void WriteRounded(const PrepareRowsArguments& a, const float* x,
                             float factor, int64_t row) {
  const int inputs = UnitInputs(a.to.format);
  const int64_t stride = (a.cols + inputs - 1) / inputs * inputs;
  uint32_t* out = reinterpret_cast<uint32_t*>(a.to.rounded + row * stride);
  for (int64_t i = 2 * static_cast<int>(threadIdx.x); i < stride;
       i += 2 * kThreads) {
    float2 value = {0, 0};
    if (i < a.cols) value.x = WithinRange<T>(Normalized(a, x, factor, i));
    if (i + 1 < a.cols) {
      value.y = WithinRange<T>(Normalized(a, x, factor, i + 1));
    }
    out[i / 2] = BitsOf(FromFloat2<T>(value));
  }
}

template <int kThreads, typename T>
__device__ void WriteSixteenBits(const PrepareRowsArguments& a, const float* x,
                                 float factor, int64_t row) {
  if (a.to.rounded != nullptr) {
    WriteRounded<kThreads, T>(a, x, factor, row);
  } else {
    WriteHalves<kThreads, T>(a, x, factor, row);
  }
}

// Four values of a lane; all lanes of the warp call.
struct QuantizedFour {
  uint32_t word;
  float scale;
  int sum;  // of the block
};
__device__ QuantizedFour QuantizeFour(const float (&value)[4]) {
  int largest_bits = 0;
  for (int i = 0; i < 4; ++i) {
    const int bits = __float_as_int(value[i]) & 0x7fffffff;
    largest_bits = max(largest_bits, bits);  // NaNs are above infinity
  }
  largest_bits = WarpMax<kBlockLanes>(largest_bits);
  const float largest = __int_as_float(largest_bits);
  QuantizedFour result = {0, 0.0f, 0};
  if (largest_bits >= kInfinityBits) {
    result.scale = __int_as_float(0x7fc00000);
  } else if (largest >= kLeastMagnitude) {
    result.scale = largest / 127.0f;
    const float inverse = 127.0f / largest;
    for (int i = 0; i < 4; ++i) {
      const int quant = __float2int_rn(value[i] * inverse);
      result.word |= (static_cast<uint32_t>(quant) & 0xff) << (8 * i);
      result.sum += quant;
    }
  }
  result.sum = WarpSum<kBlockLanes>(result.sum);
  return result;
}

// Values 4 * at and on; rows of whole blocks are 16-byte aligned.
__device__ void NormalizedFour(const PrepareRowsArguments& a, const float* x,
                               float factor, int64_t at, float (&value)[4]) {
  const float4 four = reinterpret_cast<const float4*>(x)[at];
  value[0] = four.x;
  value[1] = four.y;
  value[2] = four.z;
  value[3] = four.w;
  if (a.norm == nullptr) return;
  const float4 norm = __ldg(reinterpret_cast<const float4*>(a.norm) + at);
  value[0] = value[0] * factor * norm.x;
  value[1] = value[1] * factor * norm.y;
  value[2] = value[2] * factor * norm.z;
  value[3] = value[3] * factor * norm.w;
}

template <int kThreads>
__device__ void WriteQuantized(const PrepareRowsArguments& a, const float* x,
                               float factor, int64_t row) {
  uint32_t* words =
      reinterpret_cast<uint32_t*>(const_cast<int8_t*>(a.to.values));
  float2* scales = const_cast<float2*>(a.to.scales);
  const int64_t num_blocks = a.cols / kQuantizedInputs;
  const int64_t num_words = a.cols / 4;
  for (int64_t first = 0; first < num_words; first += kThreads) {
    const int64_t at = first + threadIdx.x;
    float value[4] = {};
    if (at < num_words) NormalizedFour(a, x, factor, at, value);
    const QuantizedFour four = QuantizeFour(value);
    if (at >= num_words) continue;
    constexpr int kHalfLanes = kBlockLanes / 2;
    const int64_t half = PlaceOf(a, row, at / kHalfLanes, 2 * num_blocks);
    words[half * kHalfLanes + at % kHalfLanes] = four.word;
    if (at % kBlockLanes == 0) {
      scales[PlaceOf(a, row, at / kBlockLanes, num_blocks)] =
          make_float2(four.scale, static_cast<float>(four.sum));
    }
  }
}

// A block per row; with a norm the row is read again, then from the cache.
// Limits: 64 registers, 1 KiB of static shared memory.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    PrepareRowsKernel(PrepareRowsArguments a) {
  LetNextKernelStart();
  WaitForPreviousKernel();
  const int64_t row = blockIdx.x;
  const int64_t from = a.indices == nullptr ? row : a.indices[row];
  const float* x = a.x + from * a.cols;
  const float factor = NormFactor<kThreads>(a, x);
  switch (a.to.format) {
    case HeldFormat::kFloat32:
      return WriteFloats<kThreads>(a, x, factor, row);
    case HeldFormat::kFloat16:
      return WriteSixteenBits<kThreads, __half>(a, x, factor, row);
    case HeldFormat::kBFloat16:
      return WriteSixteenBits<kThreads, __nv_bfloat16>(a, x, factor, row);
    case HeldFormat::kQ8:
    case HeldFormat::kQ4:
    case HeldFormat::kQ4Minimum:
      return WriteQuantized<kThreads>(a, x, factor, row);
  }
}

}  // namespace

cudaError_t PrepareRows(const PrepareRowsArguments& a, cudaStream_t stream) {
  constexpr int64_t kMaxRows = 0x7fffffff;  // of a grid
  if (a.num_rows < 0 || a.num_rows > kMaxRows || a.cols < 1 || a.to.group < 1 ||
      (IsQuantized(a.to.format) && a.cols % kQuantizedInputs != 0) ||
      (IsHalf(a.to.format) && a.to.group != kMatrixGroup)) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  const bool wide = a.cols >= kWideRow;
  return Launch(wide ? PrepareRowsKernel<kThreadsOfWideRow>
                     : PrepareRowsKernel<kThreadsOfRow>,
                {.grid = dim3(static_cast<unsigned>(a.num_rows)),
                 .block = dim3(wide ? kThreadsOfWideRow : kThreadsOfRow),
                 .overlap_previous = true},
                stream, a);
}

}  // namespace caravan::worker::cuda
