// Blocks of quantized weights to float32.
#ifndef CARAVAN_PARTITION_MODEL_DEQUANTIZE_H_
#define CARAVAN_PARTITION_MODEL_DEQUANTIZE_H_

#include <cstddef>

#include "absl/types/span.h"
#include "partition/model/gguf_types.h"

namespace caravan::partition {

// Whole blocks of Q4_0, Q4_1 or Q8_0, by the arithmetic of ggml's
// dequantize_row_* (ggml-quants.c), so that the values are the same to the bit.
// `out` has block_elements floats per block of `blocks`.
void Dequantize(GgufTensorType type, absl::Span<const std::byte> blocks,
                absl::Span<float> out);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_DEQUANTIZE_H_
