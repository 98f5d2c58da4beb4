// How the elements of a matrix are stored, in checkpoints and in a backend: as
// plain numbers, or quantized in blocks.
//
// Quantized rows are made of blocks of kBlockElements values, those of ggml:
//   kQ8           a float16 scale d, 32 int8 q:             q * d
//   kQ4           d, 32 values q of 4 bits:           (q - 8) * d
//   kQ4Minimum    d, a float16 minimum m, 32 q of 4 bits:   q * d + m
// (Q8_0, Q4_0 and Q4_1 in ggml-common.h and ggml-quants.c). Values of 4 bits
// lie in 16 bytes: byte i holds value i in its low and value i + 16 in its high
// half. Everything is little endian. Pure functions.
#ifndef CARAVAN_BASE_WEIGHT_FORMAT_H_
#define CARAVAN_BASE_WEIGHT_FORMAT_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/dtype.h"

namespace caravan {

enum class WeightFormat : uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kQ8,
  kQ4,
  kQ4Minimum,
};
inline constexpr int kNumWeightFormats = 6;

// Values of a quantized block; rows and slices of rows are whole blocks.
inline constexpr int64_t kBlockElements = 32;

WeightFormat FormatOf(DType dtype);
bool IsQuantized(WeightFormat format);
// Of the values: kFloat32 for quantized formats.
DType DecodedDType(WeightFormat format);

// "float32", "float16", "bfloat16", "q8", "q4", "q4 with minimum"
absl::string_view Name(WeightFormat format);

// The smallest number of elements that lie apart from others: kBlockElements
// for quantized formats, else 1; and the bytes that they take.
int64_t BlockSize(WeightFormat format);
int64_t BlockBytes(WeightFormat format);
// Of `count` elements, a multiple of BlockSize.
int64_t ByteSize(WeightFormat format, int64_t count);

// Whole blocks to float32, exactly as ggml's dequantize_row_* do. `blocks` has
// ByteSize(format, out.size()) bytes.
void Decode(WeightFormat format, absl::Span<const std::byte> blocks,
            absl::Span<float> out);

// Whole blocks from float32. Plain formats round to nearest even. Quantized
// ones follow ggml's quantize_row_*_ref: kQ8: d = the largest magnitude / 127;
// kQ4: the first value of the largest magnitude becomes -8, what would be more
// than 7 becomes 7; kQ4Minimum: the least value is m, the largest q = 15. q is
// x / d rounded to the nearest, halves away from zero (4 bits: up), with d not
// yet rounded to float16. A block whose d is 0 in float16 is one of zeros (of
// m). kInvalidArgument: a block to quantize has a value that is not finite, or
// is too large for the scale.
absl::Status Encode(WeightFormat format, absl::Span<const float> values,
                    absl::Span<std::byte> out);

// Whether every block of `from` has the same values in `to`: never between
// plain formats but to float32, and from kQ4 to kQ4Minimum and kQ8.
bool ConvertsExactly(WeightFormat from, WeightFormat to);

// Whole blocks of one format into those of another, of equally many elements;
// without loss where ConvertsExactly. kInvalidArgument: as Encode; or from kQ4
// to kQ4Minimum a scale whose eightfold no float16 holds.
absl::Status Convert(WeightFormat from, absl::Span<const std::byte> blocks,
                     WeightFormat to, absl::Span<std::byte> out);

}  // namespace caravan

#endif  // CARAVAN_BASE_WEIGHT_FORMAT_H_
