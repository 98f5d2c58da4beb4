// The arithmetic of the CPU backend as a table of functions, one table per
// instruction set.
//
// Kernels are compiled with options of their own, and the linker keeps only one
// copy of an inline function. So that it never keeps a copy with instructions
// that the machine lacks, this header and all that kernels include use no
// library but the compiler's intrinsics, and kernels have internal linkage.
#ifndef CARAVAN_WORKER_BACKEND_CPU_KERNELS_H_
#define CARAVAN_WORKER_BACKEND_CPU_KERNELS_H_

#include <cstdint>

namespace caravan::worker::cpu {

// A weight is held in panels of this many outputs (rows of the matrix), each
// (inputs, outputs of the panel): vector lanes run across outputs, and an
// output's sum runs over its inputs in order, for any number of rows of x. The
// last panel is filled up with zeros.
inline constexpr int kPanelOutputs = 32;
// Sums run over this many inputs from zero; the sums of these blocks are then
// added in order. It bounds what must stay in the nearest caches and makes long
// sums more exact.
inline constexpr int kBlockInputs = 256;
// Rows of x that one call multiplies.
inline constexpr int kMostRows = 96;
// Positions of a KV cache block: vector lanes run across them in scores.
inline constexpr int kBlockPositions = 16;
// Queries that one call lets attend.
inline constexpr int kMostQueries = 32;

// How elements are held: those of a panel, and of the KV cache in order.
// In a panel float32 and float16 are in order; bfloat16: output j, then output
// j + 16, so that a 32-bit word holds both and each becomes a float32 by one
// instruction.
enum class Format { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };
inline constexpr int kNumFormats = 3;

// Where a product goes: out[r][n], plus residual[r][n] when there is one.
struct Product {
  float* out = nullptr;  // of the first output of the first panel
  int64_t out_stride = 0;
  const float* residual = nullptr;  // like out
  int64_t residual_stride = 0;
  int64_t num_outputs = 0;  // of the panels, without what fills up the last
};

// Sum over k of weight[n][k] * x[r][k] for the outputs n of some panels.
struct MultiplyArguments {
  const void* panels = nullptr;  // the first of `num_panels`
  int64_t num_panels = 0;
  int64_t num_inputs = 0;
  const float* packed = nullptr;  // x, by PackRows
  int num_rows = 0;               // of x, at most kMostRows
  Product product;
  float* scratch = nullptr;  // kMultiplyScratch floats of this thread
};

// Quantized weights, in the order of base/weight_format.h. A panel is made of
// blocks of kQuantizedBlock inputs, each: a float16 scale of every output, with
// kQ4Minimum a float16 minimum of every output, then words of four bytes, word
// j of every output: an output's bytes 4 j to 4 j + 3, as they are stored.
enum class QuantizedFormat { kQ8 = 0, kQ4 = 1, kQ4Minimum = 2 };
inline constexpr int kNumQuantizedFormats = 3;
inline constexpr int kQuantizedBlock = 32;

// Rows of x, quantized for these weights in blocks of kQuantizedBlock: value =
// x / scale rounded to nearest even, scale = the block's largest magnitude /
// 127, so that values are -127 to 127. A block below 2^-100 is one of zeros. A
// block with an infinity or a NaN has the scale NaN: every product of its row
// is NaN then.
struct QuantizedRows {
  int8_t* values = nullptr;  // (blocks, rows, kQuantizedBlock)
  float* scales = nullptr;   // (blocks, rows)
  float* sums = nullptr;     // (blocks, rows): of the block's values
};

// Blocks [first_block, end_block) of all rows.
struct QuantizeArguments {
  const float* x = nullptr;  // (num_rows, num_inputs)
  int num_rows = 0;
  int64_t num_inputs = 0;
  int64_t first_block = 0;
  int64_t end_block = 0;
  QuantizedRows out;
};

// For each block, in order: sum over its inputs of weight * x value, which is
// exact, times the weight's scale (q4: after eight times the sum of the x
// values went off; q4 with minimum: plus the minimum times that sum), times the
// scale of x; these are added up from zero, each operation rounded to float32.
struct MultiplyQuantizedArguments {
  const void* panels = nullptr;  // the first of `num_panels`
  int64_t num_panels = 0;
  int64_t num_blocks = 0;  // of the inputs
  QuantizedRows x;
  int num_rows = 0;  // of x, at most kMostRows
  Product product;
  float* scratch = nullptr;  // kMultiplyScratch floats of this thread
};

inline constexpr int64_t kPanelsAtOnce = 4;
inline constexpr int64_t kMultiplyScratch =
    int64_t{kMostRows} * kPanelsAtOnce * kPanelOutputs;

// Queries of one sequence that read the same KV head.
struct AttendArguments {
  int num_queries = 0;                    // at most kMostQueries
  const float* const* queries = nullptr;  // each head_dim
  float* const* outs = nullptr;           // each head_dim
  // How many positions each sees, from the sequence's first. Not falling.
  const int64_t* num_keys = nullptr;
  // Block b's keys of this layer and head are at `cache` + blocks[b] *
  // block_stride elements: (head_dim, 16); its values follow: (16, padded
  // head_dim).
  const void* cache = nullptr;
  const int32_t* blocks = nullptr;
  int64_t block_stride = 0;
  int64_t head_dim = 0;
  float scale = 0;
  float* scratch = nullptr;  // AttendScratch(head_dim) floats of this thread
};

// Values of a head are filled up with zeros to whole vectors.
inline constexpr int64_t PaddedHeadDim(int64_t head_dim) {
  return (head_dim + 15) / 16 * 16;
}
inline constexpr int64_t AttendScratch(int64_t head_dim) {
  return kMostQueries * (PaddedHeadDim(head_dim) + kBlockPositions);
}

struct Kernels {
  // Rows of x that the innermost loop takes at once.
  int tile_rows = 0;
  void (*multiply[kNumFormats])(const MultiplyArguments& arguments) = {};
  void (*quantize)(const QuantizeArguments& arguments) = nullptr;
  void (*multiply_quantized[kNumQuantizedFormats])(
      const MultiplyQuantizedArguments& arguments) = {};
  void (*attend[kNumFormats])(const AttendArguments& arguments) = {};
  // out = x / sqrt(mean(x^2) + epsilon) * weight
  void (*rms_norm)(const float* x, const float* weight, float epsilon,
                   int64_t count, float* out) = nullptr;
  // out = gate / (1 + exp(-gate)) * up
  void (*gated_silu)(const float* gate, const float* up, int64_t count,
                     float* out) = nullptr;
  // Turns pairs (i, i + half) by the angles of `cos` and `sin`: (half).
  void (*rotate)(const float* in, const float* cos, const float* sin,
                 int64_t half, float* out) = nullptr;
  // The first index in [begin, end) with values[index] > threshold, or end.
  int64_t (*find_above)(const float* values, int64_t begin, int64_t end,
                        float threshold) = nullptr;
};

const Kernels& PortableKernels();
const Kernels& Avx2Kernels();    // only where built: instruction_set.h
const Kernels& Avx512Kernels();  // likewise

}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_KERNELS_H_
