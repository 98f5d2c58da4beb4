#include "worker/backend/cpu/quantized_product.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/checked_math.h"

namespace caravan::worker {
namespace {

// Fewer elements than this are quantized faster than a thread wakes up.
constexpr int64_t kWorthSharing = 16384;
// Blocks of inputs that one task quantizes.
constexpr int64_t kTaskBlocks = 8;

cpu::QuantizedFormat QuantizedFormatOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kQ8:
      return cpu::QuantizedFormat::kQ8;
    case WeightFormat::kQ4:
      return cpu::QuantizedFormat::kQ4;
    default:
      CARAVAN_CHECK(format == WeightFormat::kQ4Minimum);
      return cpu::QuantizedFormat::kQ4Minimum;
  }
}

// A byte for each element and two floats for each block: less than the floats
// for which scratch.packed() has room.
cpu::QuantizedRows QuantizeRows(const ProductContext& context,
                                const ProductOperands& operands) {
  const int64_t num_inputs = operands.weight->cols();
  const int64_t num_blocks = num_inputs / cpu::kQuantizedBlock;
  const int64_t all_blocks = num_blocks * operands.num_rows;
  float* const scales = context.scratch.packed();
  const cpu::QuantizedRows rows = {
      .values = reinterpret_cast<int8_t*>(scales + 2 * all_blocks),
      .scales = scales,
      .sums = scales + all_blocks};
  const auto quantize = [&](int64_t first, int64_t end) {
    context.kernels.quantize({.x = operands.x,
                              .num_rows = operands.num_rows,
                              .num_inputs = num_inputs,
                              .first_block = first,
                              .end_block = end,
                              .out = rows});
  };
  if (operands.num_rows * num_inputs < kWorthSharing) {
    quantize(0, num_blocks);
    return rows;
  }
  context.pool.Run(CeilDivide(num_blocks, kTaskBlocks), [&](int64_t task, int) {
    const int64_t first = task * kTaskBlocks;
    quantize(first, std::min(first + kTaskBlocks, num_blocks));
  });
  return rows;
}

}  // namespace

void MultiplyQuantized(const ProductContext& context,
                       const ProductOperands& operands) {
  const PanelWeight& weight = *operands.weight;
  const cpu::QuantizedRows x = QuantizeRows(context, operands);
  const auto multiply = context.kernels.multiply_quantized[static_cast<int>(
      QuantizedFormatOf(weight.format()))];
  ForEachPiece(context, operands, [&](const ProductPiece& piece) {
    multiply({.panels = piece.panels,
              .num_panels = piece.num_panels,
              .num_blocks = weight.cols() / cpu::kQuantizedBlock,
              .x = x,
              .num_rows = operands.num_rows,
              .product = piece.product,
              .scratch = piece.scratch});
  });
}

}  // namespace caravan::worker
