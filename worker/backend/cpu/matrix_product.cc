#include "worker/backend/cpu/matrix_product.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "worker/backend/cpu/quantized_product.h"

namespace caravan::worker {
namespace {

// Fewer elements than this are packed faster than a thread wakes up.
constexpr int64_t kWorthSharing = 16384;
// Pieces of a product per thread: a thread that comes late or is slow then
// leaves its share to the others.
constexpr int64_t kPiecesPerThread = 16;

const float* Pack(const ProductContext& context,
                  const ProductOperands& operands) {
  if (operands.num_rows == 1) return operands.x;
  const RowPacking packing = {.x = operands.x,
                              .num_rows = operands.num_rows,
                              .cols = operands.weight->cols(),
                              .tile_rows = context.kernels.tile_rows,
                              .packed = context.scratch.packed()};
  const int64_t num_blocks = CeilDivide(packing.cols, cpu::kBlockInputs);
  if (packing.num_rows * packing.cols < kWorthSharing) {
    for (int64_t block = 0; block < num_blocks; ++block) {
      PackRows(packing, block);
    }
  } else {
    context.pool.Run(num_blocks,
                     [&](int64_t block, int) { PackRows(packing, block); });
  }
  return packing.packed;
}

cpu::Format PlainFormat(WeightFormat format) {
  switch (format) {
    case WeightFormat::kFloat16:
      return cpu::Format::kFloat16;
    case WeightFormat::kBFloat16:
      return cpu::Format::kBFloat16;
    default:
      CARAVAN_CHECK(format == WeightFormat::kFloat32);
      return cpu::Format::kFloat32;
  }
}

}  // namespace

void PackRows(const RowPacking& packing, int64_t block) {
  const int64_t first = block * cpu::kBlockInputs;
  const int64_t num_inputs =
      std::min<int64_t>(cpu::kBlockInputs, packing.cols - first);
  const int num_tiles =
      (packing.num_rows + packing.tile_rows - 1) / packing.tile_rows;
  float* to = packing.packed + first * packing.num_rows;
  int row = 0;
  for (int tile = 0; tile < num_tiles; ++tile) {
    const int end = packing.num_rows * (tile + 1) / num_tiles;
    const int height = end - row;
    for (int r = 0; r < height; ++r) {
      const float* from = packing.x + (row + r) * packing.cols + first;
      for (int64_t k = 0; k < num_inputs; ++k) to[k * height + r] = from[k];
    }
    to += num_inputs * height;
    row = end;
  }
}

void ForEachPiece(const ProductContext& context,
                  const ProductOperands& operands,
                  absl::FunctionRef<void(const ProductPiece& piece)> work) {
  const PanelWeight& weight = *operands.weight;
  const int64_t num_panels = weight.num_panels();
  const int64_t num_threads = context.pool.num_threads();
  int64_t piece =
      std::max<int64_t>(1, num_panels / (num_threads * kPiecesPerThread));
  // Many rows: panels that are multiplied together stay together.
  if (piece > cpu::kPanelsAtOnce)
    piece = piece / cpu::kPanelsAtOnce * cpu::kPanelsAtOnce;
  context.pool.Run(CeilDivide(num_panels, piece),
                   [&](int64_t index, int thread) {
                     const int64_t first = index * piece;
                     const int64_t first_output = first * cpu::kPanelOutputs;
                     cpu::Product product = {
                         .out = operands.out + first_output,
                         .out_stride = weight.rows(),
                         .num_outputs = std::min(piece * cpu::kPanelOutputs,
                                                 weight.rows() - first_output)};
                     if (operands.residual != nullptr) {
                       product.residual = operands.residual + first_output;
                       product.residual_stride = weight.rows();
                     }
                     work({.panels = weight.panel(first),
                           .num_panels = std::min(piece, num_panels - first),
                           .product = product,
                           .scratch = context.scratch.Thread(thread)});
                   });
}

void Multiply(const ProductContext& context, const ProductOperands& operands) {
  const PanelWeight& weight = *operands.weight;
  if (IsQuantized(weight.format())) {
    MultiplyQuantized(context, operands);
    return;
  }
  const float* packed = Pack(context, operands);
  const auto multiply =
      context.kernels.multiply[static_cast<int>(PlainFormat(weight.format()))];
  ForEachPiece(context, operands, [&](const ProductPiece& piece) {
    multiply({.panels = piece.panels,
              .num_panels = piece.num_panels,
              .num_inputs = weight.cols(),
              .packed = packed,
              .num_rows = operands.num_rows,
              .product = piece.product,
              .scratch = piece.scratch});
  });
}

}  // namespace caravan::worker
