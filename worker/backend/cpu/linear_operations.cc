#include "worker/backend/cpu/linear_operations.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/checked_math.h"

namespace caravan::worker {
namespace {

// Less work than this is done before another thread has begun.
constexpr int64_t kWorthSharing = 16384;
// Elements of a row of the MLP that one task makes.
constexpr int64_t kSiluPiece = 4096;

int64_t RowsOfChunk(int64_t first, int64_t num_rows) {
  return std::min<int64_t>(cpu::kMostRows, num_rows - first);
}

void NormalizeRow(const ProductContext& context, const float* x,
                  const Norm& norm, float* out) {
  context.kernels.rms_norm(x, norm.weight.floats(), norm.epsilon,
                           norm.weight.cols, out);
}

}  // namespace

void ForEachRow(ThreadPool& pool, int64_t num_rows, int64_t row_elements,
                absl::FunctionRef<void(int64_t row)> work) {
  if (num_rows * row_elements < kWorthSharing) {
    for (int64_t row = 0; row < num_rows; ++row) work(row);
    return;
  }
  pool.Run(num_rows, [&](int64_t row, int) { work(row); });
}

void NormalizeRows(const ProductContext& context, const Tensor& x,
                   const Norm& norm) {
  CheckFloats(norm.weight, 1, x.cols);
  ForEachRow(context.pool, x.rows, x.cols, [&](int64_t row) {
    NormalizeRow(context, x.Rows(row, 1).floats(), norm,
                 context.scratch.normed() + row * x.cols);
  });
}

const PanelWeight& AsPanels(const Weight& weight) {
  const auto* panels = dynamic_cast<const PanelWeight*>(&weight);
  CARAVAN_CHECK(panels != nullptr);
  return *panels;
}

void CheckFloats(const Tensor& tensor, int64_t rows, int64_t cols) {
  CARAVAN_CHECK(tensor.dtype == DType::kFloat32);
  CARAVAN_CHECK(tensor.rows == rows);
  CARAVAN_CHECK(tensor.cols == cols);
}

void EmbedRows(const ProductContext& context, const PanelWeight& table,
               int64_t first_id, absl::Span<const int32_t> ids,
               const Tensor& out) {
  CheckFloats(out, static_cast<int64_t>(ids.size()), table.cols());
  ForEachRow(context.pool, out.rows, out.cols, [&](int64_t i) {
    float* to = out.Rows(i, 1).floats();
    const int64_t row = ids[i] - first_id;
    if (row >= 0 && row < table.rows()) {
      table.CopyRow(row, to);
    } else {
      std::memset(to, 0, out.cols * sizeof(float));
    }
  });
}

void ApplyLinear(const ProductContext& context, const Tensor& x,
                 const PanelWeight& weight, const Tensor* residual,
                 const Tensor& out) {
  CheckFloats(x, out.rows, weight.cols());
  CheckFloats(out, x.rows, weight.rows());
  if (residual != nullptr) CheckFloats(*residual, out.rows, out.cols);
  for (int64_t first = 0; first < x.rows; first += cpu::kMostRows) {
    const int64_t num_rows = RowsOfChunk(first, x.rows);
    Multiply(context,
             {.x = x.Rows(first, num_rows).floats(),
              .num_rows = static_cast<int>(num_rows),
              .weight = &weight,
              .residual = residual == nullptr
                              ? nullptr
                              : residual->Rows(first, num_rows).floats(),
              .out = out.Rows(first, num_rows).floats()});
  }
}

void ApplyGatedMlp(const ProductContext& context, const Tensor& x,
                   const Norm& norm, const PanelWeight& gate_up,
                   const Tensor& out) {
  CARAVAN_CHECK(gate_up.rows() % 2 == 0);
  const int64_t width = gate_up.rows() / 2;
  CheckFloats(x, out.rows, gate_up.cols());
  CheckFloats(out, x.rows, width);
  const int64_t pieces = CeilDivide(width, kSiluPiece);
  for (int64_t first = 0; first < x.rows; first += cpu::kMostRows) {
    const int64_t num_rows = RowsOfChunk(first, x.rows);
    NormalizeRows(context, x.Rows(first, num_rows), norm);
    const float* product = context.scratch.product();
    Multiply(context, {.x = context.scratch.normed(),
                       .num_rows = static_cast<int>(num_rows),
                       .weight = &gate_up,
                       .out = context.scratch.product()});
    ForEachRow(context.pool, num_rows * pieces, kSiluPiece, [&](int64_t task) {
      const int64_t row = task / pieces;
      const int64_t column = task % pieces * kSiluPiece;
      const float* gate = product + row * gate_up.rows() + column;
      context.kernels.gated_silu(gate, gate + width,
                                 std::min(kSiluPiece, width - column),
                                 out.Rows(first + row, 1).floats() + column);
    });
  }
}

void ApplyHead(const ProductContext& context, const HeadInput& input,
               const PanelWeight& head, const Tensor& logits) {
  const int64_t all_rows = static_cast<int64_t>(input.rows.size());
  CheckFloats(input.x, input.x.rows, head.cols());
  CheckFloats(input.norm->weight, 1, head.cols());
  CheckFloats(logits, all_rows, head.rows());
  for (int64_t first = 0; first < all_rows; first += cpu::kMostRows) {
    const int64_t num_rows = RowsOfChunk(first, all_rows);
    ForEachRow(context.pool, num_rows, head.cols(), [&](int64_t i) {
      const int64_t row = input.rows[first + i];
      CARAVAN_CHECK(row >= 0 && row < input.x.rows);
      NormalizeRow(context, input.x.Rows(row, 1).floats(), *input.norm,
                   context.scratch.normed() + i * head.cols());
    });
    Multiply(context, {.x = context.scratch.normed(),
                       .num_rows = static_cast<int>(num_rows),
                       .weight = &head,
                       .out = logits.Rows(first, num_rows).floats()});
  }
}

}  // namespace caravan::worker
