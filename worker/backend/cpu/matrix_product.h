// Products of rows with a weight, shared among the threads of a pool.
#ifndef CARAVAN_WORKER_BACKEND_CPU_MATRIX_PRODUCT_H_
#define CARAVAN_WORKER_BACKEND_CPU_MATRIX_PRODUCT_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/panel_weight.h"
#include "worker/backend/cpu/scratch.h"
#include "worker/backend/cpu/thread_pool.h"

namespace caravan::worker {

// Rows of x in the order in which kernels read them: for each block of inputs
// and each tile of at most `tile_rows` rows (row r of R rows is in tile t of T
// when R * t / T <= r < R * (t + 1) / T): (inputs, rows of the tile).
struct RowPacking {
  const float* x = nullptr;
  int num_rows = 0;
  int64_t cols = 0;
  int tile_rows = 0;
  float* packed = nullptr;  // (num_rows, cols) floats
};
// Packs one block of kBlockInputs inputs.
void PackRows(const RowPacking& packing, int64_t block);

// What a product needs besides its operands.
struct ProductContext {
  const cpu::Kernels& kernels;
  ThreadPool& pool;
  const Scratch& scratch;
};

struct ProductOperands {
  const float* x = nullptr;  // (num_rows, weight.cols)
  int num_rows = 0;          // at most kMostRows
  const PanelWeight* weight = nullptr;
  const float* residual = nullptr;  // (num_rows, weight.rows) or null
  float* out = nullptr;             // (num_rows, weight.rows); may be residual
};

// Some panels of a weight and what kernels need to multiply with them.
struct ProductPiece {
  const void* panels = nullptr;
  int64_t num_panels = 0;
  cpu::Product product;
  float* scratch = nullptr;  // of the thread
};

// Divides the weight's panels among the threads and calls `work` for each
// piece.
void ForEachPiece(const ProductContext& context,
                  const ProductOperands& operands,
                  absl::FunctionRef<void(const ProductPiece& piece)> work);

// out = x * weight^T (+ residual), of any format. x is not scratch.packed().
void Multiply(const ProductContext& context, const ProductOperands& operands);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_MATRIX_PRODUCT_H_
